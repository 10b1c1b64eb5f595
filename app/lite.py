"""A classifier's `Servable` in, a TensorFlow Lite file out that takes texts as code points, verified.

TensorFlow Lite has no operations that take strings apart. TensorFlow's own can be had beside them (select operations,
Flex), but no package for Python runs those any more: TensorFlow left them out in 2.20, and ai-edge-litert has none. So a
text comes in as the numbers of its characters, and the tokenizer does all else with TensorFlow Lite's own.
"""

import collections
import tempfile
import warnings

import numpy as np
import tensorflow as tf
from tensorflow.lite.tools import flatbuffer_utils

from app.saved_model import save
from app.terminal import console, held_back
from app.verification import TOLERANCE, verify_lite
from data.batching import cleaned
from data.lite import encode_lite
from models.run_folder import whole

INT8_TOLERANCE = 0.1  # of a probability: TensorFlow Lite rounds what stands between the layers as well


def write_lite(to, servable, int8):
    """Writes a TensorFlow Lite file, whole or not at all.

    Args:
        to: the file.
        servable: `app.servables.Servable` of a classifier.
        int8: TensorFlow Lite's dynamic range quantization.

    Returns:
        {operation: how often}, sorted by name.

    Raises:
        RuntimeError: as `verify_lite`.
    """
    module = tf.Module()
    module.weights = servable.module.weights  # and no tokenizer, whose tables of words would come along
    signatures = _signatures(servable)
    with whole(to) as temporary, tempfile.TemporaryDirectory() as folder:
        with held_back():
            save(module, folder, signatures)
            converter = tf.lite.TFLiteConverter.from_saved_model(folder)
            if int8:
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            temporary.write_bytes(converter.convert())
        difference = verify_lite(temporary, _inputs(servable), servable.expected["token_ids"]["probabilities"],
                                 INT8_TOLERANCE if int8 else TOLERANCE)
        operations = _operations(temporary)
    console.print(", ".join(f"{name} {count}" for name, count in operations.items()), markup=False)
    console.print(f"{len(operations)} operations, TensorFlow Lite's own. Its interpreter gives the answers of the run "
                  f"(largest difference of a probability {difference:.1e}).")
    inputs = ", ".join(f'{name}=np.array([*map(ord, "…")], np.int32)' for name in servable.inputs["serving_default"])
    console.print(f"TensorFlow Lite: {to}\n"
                  f'  Interpreter("{to}").get_signature_runner("serving_default")({inputs})', markup=False)
    return operations


def _signatures(servable):
    """Concrete functions of one text each: on rows of open length TensorFlow Lite lacks operations and its fastest
    kernels."""
    length, segment_length = (servable.about[name] for name in ("sequence_length", "segment_length"))
    answer = servable.module.from_token_ids.python_function  # the tf.function has a graph for rows of every length

    def from_text(text, pair=None):
        return answer(encode_lite(servable.module.tokenizer, text, pair, length, segment_length))

    texts = {name: tf.TensorSpec([None], tf.int32, name=name) for name in servable.inputs["serving_default"]}
    row = tf.TensorSpec([1, length], tf.int32, name="token_ids")
    return {"serving_default": tf.function(from_text, autograph=False).get_concrete_function(**texts),
            "token_ids": tf.function(answer, autograph=False).get_concrete_function(row)}


def _inputs(servable):
    """The inputs of a servable as `verify_lite` takes them."""
    texts = {name: [[ord(character) for character in text.decode()] for text in cleaned(tf.constant(values)).numpy()]
             for name, (values, _) in servable.inputs["serving_default"].items()}
    length = servable.about["sequence_length"]
    rows = [[row + [0] * (length - len(row))] for row in servable.inputs["token_ids"]["token_ids"][0]]
    return {"serving_default": [dict(zip(texts, values)) for values in zip(*texts.values())],
            "token_ids": [{"token_ids": row} for row in rows]}


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
