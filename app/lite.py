"""A classifier's `Servable` in, a TensorFlow Lite file out that takes token ids, verified.

TensorFlow Lite's own operations cannot take texts apart, and those of TensorFlow that could (select operations, Flex) are
in none of Python's packages any more: TensorFlow left them out in 2.20, and ai-edge-litert has not got them. What nobody
can run here cannot be verified, so the file does without.
"""

import collections
import tempfile
import warnings

import numpy as np
import tensorflow as tf
from tensorflow.lite.tools import flatbuffer_utils

from app.terminal import console, held_back
from app.verification import TOLERANCE, verify_lite
from models.run_folder import whole

# Of a probability. TensorFlow Lite rounds activations too, and that as it likes.
INT8_TOLERANCE = 0.1


def write_lite(to, servable, int8):
    """Writes a TensorFlow Lite file, whole or not at all.

    It has one signature, token_ids: int32 (1, sequence length), 0 = padding. Rows of one length are what TensorFlow Lite
    is quick at, and what its operations can be found for.

    Args:
        to: the file.
        servable: `app.servables.Servable` of a classifier.
        int8: TensorFlow Lite's dynamic range quantization.

    Returns:
        {operation: how often}, sorted by name.

    Raises:
        RuntimeError: as `verify_lite`.
    """
    row = tf.TensorSpec([1, servable.about["sequence_length"]], tf.int32, name="token_ids")
    module = tf.Module()
    module.weights = servable.module.weights  # and no tokenizer, whose tables would come along
    # Another tf.function: that of the `Servable` has rows of every length, for which some operations are lacking.
    function = tf.function(servable.module.from_token_ids.python_function, [row], autograph=False)
    with whole(to) as temporary, tempfile.TemporaryDirectory() as folder:
        with held_back():
            tf.saved_model.save(module, folder, signatures={"token_ids": function.get_concrete_function()})
            converter = tf.lite.TFLiteConverter.from_saved_model(folder)
            if int8:
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            temporary.write_bytes(converter.convert())
        difference = verify_lite(temporary, servable, INT8_TOLERANCE if int8 else TOLERANCE)
        operations = _operations(temporary)
    console.print(", ".join(f"{name} {count}" for name, count in operations.items()), markup=False)
    console.print(f"{len(operations)} operations, TensorFlow Lite's own. Its interpreter gives the answers of the run (largest "
                  f"difference of a probability {difference:.1e}).")
    console.print(f"TensorFlow Lite: {to}\n"
                  f'  Interpreter("{to}").get_signature_runner("token_ids")(token_ids=np.zeros({row.shape.as_list()}, '
                  "np.int32))", markup=False)
    return operations


def _operations(path):
    model = flatbuffer_utils.read_model(str(path))
    names = (flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex)
             for graph in model.subgraphs for operator in graph.operators)
    return dict(sorted(collections.Counter(names).items()))


def lite_probabilities(path):
    """A TensorFlow Lite file as a function of token ids int32 (B, L) to probabilities float32 (B, C)."""
    with held_back(), warnings.catch_warnings(action="ignore"):  # in favour of ai-edge-litert
        interpreter = tf.lite.Interpreter(str(path))
        answer = interpreter.get_signature_runner("token_ids")
        length = answer.get_input_details()["token_ids"]["shape"][1]
        answer(token_ids=np.zeros([1, length], np.int32))

    def probabilities(token_ids):
        rows = np.pad(token_ids, [(0, 0), (0, length - token_ids.shape[1])])
        return np.concatenate([answer(token_ids=row[None])["probabilities"] for row in rows])

    return probabilities
