"""A folder of a SavedModel in, what it answers out: loaded and warmed up, with a queue of its own."""

import asyncio
import contextlib
import dataclasses
import functools
import json
import math

import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2

from app.batching_queue import BatchingQueue
from app.model_server import WARMUP, read_warmup

SAVED_MODEL = "saved_model.pb"
ABOUT = "fromzero.json"  # in assets.extra/, where the model is an export of this project


@dataclasses.dataclass(frozen=True)
class Signature:
    """One of the things that a SavedModel answers.

    Attributes:
        name: such as "serving_default".
        inputs: {name: tf.TensorSpec}.
        outputs: {name: tf.TensorSpec}.
        function: the concrete function.
    """

    name: str
    inputs: dict
    outputs: dict
    function: object

    @functools.cached_property
    def batches(self):
        """Whether requests may share a batch: all first axes are open, and no output's size depends on its neighbours."""
        shapes = [spec.shape for spec in (*self.inputs.values(), *self.outputs.values())]
        return (bool(self.inputs) and all(shape.rank and shape[0] is None for shape in shapes)
                and all(spec.shape[1:].is_fully_defined() for spec in self.outputs.values()))


class LoadedVersion:
    """A SavedModel in memory with its queue.

    Attributes:
        number: of the version.
        signatures: {name: `Signature`}.
        metadata: {name: SignatureDef as JSON types}.
        about: what the export says of itself, JSON types; {} where it says nothing.
        queue: `app.batching_queue.BatchingQueue`.
    """

    def __init__(self, number, folder, batching, observe_batch):
        """Loads a SavedModel and answers its warm-up requests.

        Raises:
            Exception: whatever TensorFlow raises for a broken or incomplete one.
        """
        saved = saved_model_pb2.SavedModel.FromString((folder / SAVED_MODEL).read_bytes())
        definitions = saved.meta_graphs[0].signature_def
        loaded = tf.saved_model.load(str(folder))
        self.number, self._loaded = number, loaded  # whose variables live as long as it does
        self.signatures = {name: Signature(name, _specs(definitions[name].inputs), _specs(definitions[name].outputs),
                                           function) for name, function in loaded.signatures.items()}
        self.metadata = {name: json_format.MessageToDict(definition, preserving_proto_field_name=True,
                                                         always_print_fields_with_no_presence=True)
                         for name, definition in definitions.items()}
        self.about = _about(folder / "assets.extra" / ABOUT)
        warmup = folder / "assets.extra" / WARMUP
        for name, inputs in read_warmup(warmup) if warmup.exists() else ():
            run(self.signatures[name], inputs)
        self._users = 0
        self.queue = BatchingQueue(run, batching, observe_batch)

    @contextlib.contextmanager
    def in_use(self):
        """While anybody uses it, a version is not unloaded."""
        self._users += 1
        try:
            yield self
        finally:
            self._users -= 1

    async def unload(self):
        """Waits for those who use it, then ends its thread."""
        while self._users:
            await asyncio.sleep(0.05)
        await asyncio.to_thread(self.queue.close)
        # An int8 export's float32 weights; all else TensorFlow frees with the last that refers to it.
        weights = getattr(self._loaded, "weights", None)
        for weight in weights if isinstance(weights, list) else ():  # somebody else's may be anything
            if isinstance(weight, tf.saved_model.experimental.TrackableResource):
                tf.raw_ops.DestroyResourceOp(resource=weight.resource_handle)


def run(signature, inputs):
    """Calls a `Signature` with {input: np.ndarray}; returns {output: np.ndarray}."""
    tensors = {name: tf.constant(array, signature.inputs[name].dtype) for name, array in inputs.items()}
    answer = signature.function(**tensors)
    return {name: answer[name].numpy() for name in signature.outputs}


def _about(path):
    """A JSON object; {} for what is none, since a model answers without it too."""
    try:
        # NaN and Infinity are no JSON, and 1e999 would be written as such.
        about = json.loads(path.read_text(encoding="utf-8"), parse_constant=str, parse_float=_finite)
    except (OSError, ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}


def _finite(text):
    """A number of JSON; one that is too large for a float as it is written."""
    return float(text) if math.isfinite(float(text)) else text


def _specs(infos):
    """{name: tf.TensorSpec} of a SignatureDef's inputs or outputs, sorted."""
    return {name: tf.TensorSpec(tf.TensorShape(info.tensor_shape), tf.as_dtype(info.dtype))
            for name, info in sorted(infos.items())}
