"""A SavedModel on disk in, what it needs and whether it answers as its run does out."""

import collections
import json
import os
import subprocess
import sys
from pathlib import Path

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
        answer = loaded.signatures[signature](**tensors)
        answers[signature] = {name: [value.decode() for value in tensor.numpy().flat] if tensor.dtype == tf.string
                              else tensor.numpy().tolist() for name, tensor in answer.items()}
print("\\n" + json.dumps({"unknown": unknown, "answers": answers}))
"""
LITE_VERIFICATION = """
import json, sys
sys.modules.update(dict.fromkeys(("keras", "tensorflow_text", "app", "data", "models")))
import numpy as np
import tensorflow as tf
request = json.load(sys.stdin)
interpreter = tf.lite.Interpreter(request["path"])
answers = {}
for signature, calls in request["inputs"].items():
    answer = interpreter.get_signature_runner(signature)
    answers[signature] = [answer(**{name: np.array(value, np.int32) for name, value in inputs.items()})
                          ["probabilities"][0].tolist() for inputs in calls]
print("\\n" + json.dumps(answers))
"""


def list_operations(folder):
    """Every operation in a SavedModel, those inside its function library too.

    Returns:
        {name: how often}, sorted by name; calls of the library's own functions are left out.

    Raises:
        RuntimeError: an operation calls back into Python, or is one of XLA's, which not every server has.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((Path(folder) / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    functions = {function.signature.name for function in graph.library.function}
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    counts = collections.Counter(node.op for node in nodes if node.op not in functions)
    if refused := [name for name in counts if name in PYTHON_OPERATIONS or name.startswith("Xla")]:
        raise RuntimeError(f"an export must run without Python and XLA. Found in the graph: {', '.join(refused)}")
    return dict(sorted(counts.items()))


def verify(folder, operations, servable):
    """Loads an export in a process with TensorFlow alone and holds its answers against the run's.

    Args:
        folder: the SavedModel.
        operations: names of its operations.
        servable: the `app.servables.Servable` that was saved.

    Returns:
        The largest difference of a number.

    Raises:
        RuntimeError: an operation is not core TensorFlow, loading fails, a text differs, or a number by more than 1e-5.
    """
    reply = _reply(VERIFICATION, {"folder": str(folder), "operations": list(operations), "inputs": servable.inputs})
    if reply["unknown"]:
        raise RuntimeError(f"an export must need core TensorFlow alone. Found: {', '.join(reply['unknown'])}")
    return max(_difference(f"{signature}'s {name}", reply["answers"][signature][name], expected, TOLERANCE)
               for signature, outputs in servable.expected.items() for name, expected in outputs.items())


def verify_lite(path, inputs, expected, tolerance):
    """The same for a TensorFlow Lite file of a classifier, one text at a time.

    Args:
        path: the file.
        inputs: {signature: of each of N texts {input: int32 values}}.
        expected: np.float32 (N, C), the run's probabilities.
        tolerance: how far a probability may be from them.

    Raises:
        RuntimeError: loading fails, or a probability differs by more.
    """
    answers = _reply(LITE_VERIFICATION, {"path": str(path), "inputs": inputs})
    return max(_difference(f"{signature}'s probabilities", answer, expected, tolerance)
               for signature, answer in answers.items())


def _reply(program, request):
    """What a program says to a request in a process of its own; both are JSON."""
    # On the CPU: this process may already hold all of the GPU's memory.
    process = subprocess.run([sys.executable, "-I", "-c", program], input=json.dumps(request), text=True,
                             encoding="utf-8", capture_output=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"})
    if process.returncode:
        raise RuntimeError(f"the export does not load where TensorFlow stands alone:\n{process.stderr[-3000:]}")
    return json.loads(process.stdout.splitlines()[-1])


def _difference(name, answer, expected, tolerance):
    """The largest difference of a number; 0 of texts, which must not differ."""
    import numpy as np

    if expected.dtype == object:  # texts
        for text, given in zip([text.decode() for text in expected.flat], answer, strict=True):
            if text != given:
                raise RuntimeError(f"an export must give the run's answers. Received: {name} {given!r}, not {text!r}")
        return 0.0
    difference = float(np.abs(np.asarray(answer) - expected).max())
    if not difference <= tolerance:  # NaN fails too
        raise RuntimeError(f"an export must give the run's answers, numbers to {tolerance}. Received: {name}, which differ "
                           f"by {difference}")
    return difference
