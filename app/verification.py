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
    import numpy as np

    request = {"folder": str(folder), "operations": list(operations), "inputs": servable.inputs}
    # On the CPU: this process may already hold all of the GPU's memory.
    process = subprocess.run([sys.executable, "-I", "-c", VERIFICATION], input=json.dumps(request), text=True,
                             encoding="utf-8", capture_output=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"})
    if process.returncode:
        raise RuntimeError(f"the export does not load where TensorFlow stands alone:\n{process.stderr[-3000:]}")
    reply = json.loads(process.stdout.splitlines()[-1])
    if reply["unknown"]:
        raise RuntimeError(f"an export must need core TensorFlow alone. Found: {', '.join(reply['unknown'])}")
    largest = 0.0
    for signature, outputs in servable.expected.items():
        for name, expected in outputs.items():
            answer = reply["answers"][signature][name]
            if expected.dtype == object:  # texts
                for text, given in zip([text.decode() for text in expected.flat], answer, strict=True):
                    if text != given:
                        raise RuntimeError(f"an export must give the run's answers. Received: {signature}'s {name} "
                                           f"{given!r}, not {text!r}")
                continue
            difference = float(np.abs(np.asarray(answer) - expected).max())
            if not difference <= TOLERANCE:  # NaN fails too
                raise RuntimeError(f"an export must give the run's answers, numbers to {TOLERANCE}. Received: "
                                   f"{signature}'s {name}, which differ by {difference}")
            largest = max(largest, difference)
    return largest
