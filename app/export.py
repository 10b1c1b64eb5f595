"""A fine-tuned run in, a SavedModel that takes raw strings out: served without this project, Keras or Python."""

import collections
import json
import os
import subprocess
import sys
from pathlib import Path

import tyro

# What both sides of the verification answer: scripts, lengths and characters that tokenizers stumble over.
EXAMPLES = ("this is a good product", "这是一个很好的产品", "", "  A  film, which… DISAPPOINTS!!", "价格100元，不贵。Good!",
            "naïve café ＡＢＣ １２３", "a\x00b\x0bc\x1fd\x85e\ufefff\u200b\ufffd 😀👍🏽",
            "fine<br />acting<BR>yes\r\nno\rmaybe", "word " * 3000, "很" * 3000, "x" * 5000)
# Registered in every TensorFlow of Python, yet nothing outside Python can run them.
PYTHON_OPERATIONS = ("PyFunc", "PyFuncStateless", "EagerPyFunc")
TOLERANCE = 1e-5

# Runs in a process of its own. `-I` hides this checkout and the environment variables. TensorFlow imports Keras where
# it is installed, so what an export must do without is blocked: None in sys.modules makes its import fail.
VERIFICATION = """
import json, sys
sys.modules.update(dict.fromkeys(("keras", "tensorflow_text", "app", "data", "models")))
import tensorflow as tf
from tensorflow.python.framework import op_def_registry
request = json.load(sys.stdin)
unknown = [name for name in request["operations"] if op_def_registry.get(name) is None]
answers = {}
if not unknown:
    loaded = tf.saved_model.load(request["folder"])
    for signature, inputs in request["inputs"].items():
        tensors = {name: tf.constant(values, dtype) for name, (values, dtype) in inputs.items()}
        answers[signature] = loaded.signatures[signature](**tensors)["probabilities"].numpy().tolist()
print("\\n" + json.dumps({"unknown": unknown, "answers": answers}))
"""


def export(run: tyro.conf.Positional[Path], *, to: Path) -> dict[str, int]:
    """Write a SavedModel that takes raw strings.

    The signature serving_default takes text, tf.string (batch,), and pair where the classifier takes pairs; token_ids
    takes int32 (batch, length) with [CLS] and [SEP], 0 = padding. Both give probabilities float32 (batch, classes),
    label string (batch,) and score float32 (batch,), that label's probability. Tokenizer and labels are inside;
    assets.extra/ has labels.txt and fromzero.json for people. Before the folder gets its name, a process with
    TensorFlow alone must load it and give the run's own probabilities.

    Args:
        run: folder of a fine-tuned run.
        to: folder to write, by TensorFlow Serving's custom NAME/VERSION, such as export/sentiment/1.

    Returns:
        The operations of the graph and how often each occurs.
    """
    to = Path(to)
    if to.exists():
        raise ValueError(f"{to} exists: choose another name or version, such as {to.parent / '2'}, or remove it first")

    from app.terminal import console, load_tensorflow

    load_tensorflow()
    import tensorflow as tf

    from app.classifier import load_classifier
    from app.serving import serving_module
    from models.run_folder import whole, write_json

    classifier = load_classifier(Path(run))
    module, signatures = serving_module(classifier)
    with whole(to) as temporary:
        try:
            tf.saved_model.save(module, str(temporary), signatures=signatures)
        except tf.errors.OpError as error:  # TensorFlow's own form of "No space left on device" and "Permission denied"
            raise OSError(f"{to} cannot be written: {error.message}") from error
        operations = list_operations(temporary)
        difference = verify(temporary, operations, classifier)
        extra = temporary / "assets.extra"
        extra.mkdir()
        (extra / "labels.txt").write_text("".join(f"{name}\n" for name in classifier.label_names), encoding="utf-8")
        write_json(extra / "fromzero.json", {
            "task": classifier.task, "labels": classifier.label_names, "takes_pairs": classifier.takes_pairs,
            "sequence_length": classifier.sequence_length, "tokenizer": classifier.tokenizer.sha256,
            "tensorflow": tf.__version__})
    console.print(", ".join(f"{name} {count}" for name, count in operations.items()), markup=False)
    console.print(f"{len(operations)} operations, core TensorFlow only. A process with TensorFlow alone gives the same "
                  f"probabilities (largest difference {difference:.1e}).")
    console.print(f"SavedModel: {to}\n"
                  f'  tf.saved_model.load("{to}").signatures["serving_default"](text=tf.constant(["…"]))', markup=False)
    return operations


def list_operations(folder):
    """Every operation in a SavedModel, those inside its function library too.

    Returns:
        {name: how often}, sorted by name; calls of the library's own functions are left out.

    Raises:
        RuntimeError: an operation calls back into Python.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((Path(folder) / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    functions = {function.signature.name for function in graph.library.function}
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    counts = collections.Counter(node.op for node in nodes if node.op not in functions)
    if python := [name for name in PYTHON_OPERATIONS if name in counts]:
        raise RuntimeError(f"an export must run without Python. Found in the graph: {', '.join(python)}")
    return dict(sorted(counts.items()))


def verify(folder, operations, classifier):
    """Loads an export in a process with TensorFlow alone and holds its probabilities against the classifier's.

    Args:
        folder: the SavedModel.
        operations: names of its operations.
        classifier: `app.classifier.Classifier` that was exported.

    Returns:
        The largest difference of a probability.

    Raises:
        RuntimeError: an operation is not core TensorFlow, loading fails, or probabilities differ by more than 1e-5.
    """
    import numpy as np
    import tensorflow as tf

    from data.batching import encode_examples

    texts = list(EXAMPLES)
    pairs = texts[::-1] if classifier.takes_pairs else None
    # TensorFloat-32, the default on recent GPUs, rounds to 10 bits: results would differ by 1e-3.
    with_tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        expected = classifier.probabilities(texts, pairs)
        token_ids = encode_examples(
            classifier.tokenizer, tf.constant(texts), None if pairs is None else tf.constant(pairs),
            classifier.sequence_length, classifier.segment_length)["token_ids"].numpy()
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(with_tf32)
    request = {"folder": str(folder), "operations": list(operations), "inputs": {
        "serving_default": {"text": (texts, "string"), **({} if pairs is None else {"pair": (pairs, "string")})},
        "token_ids": {"token_ids": (token_ids.tolist(), "int32")}}}
    # On the CPU: this process may already hold all of the GPU's memory.
    process = subprocess.run([sys.executable, "-I", "-c", VERIFICATION], input=json.dumps(request), text=True,
                             encoding="utf-8", capture_output=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"})
    if process.returncode:
        raise RuntimeError(f"the export does not load where TensorFlow stands alone:\n{process.stderr[-3000:]}")
    reply = json.loads(process.stdout.splitlines()[-1])
    if reply["unknown"]:
        raise RuntimeError(f"an export must need core TensorFlow alone. Found: {', '.join(reply['unknown'])}")
    difference = max(float(np.abs(np.asarray(answer) - expected).max()) for answer in reply["answers"].values())
    if not difference <= TOLERANCE:  # NaN fails too
        raise RuntimeError(f"an export must give the run's probabilities to {TOLERANCE}. Received: {difference}")
    return difference
