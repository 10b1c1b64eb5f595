"""Folders of SavedModels in, the newest version of each out: loaded, warmed up, watched, replaced without a stop."""

import asyncio
import contextlib
import dataclasses
import functools
import gc
import json
import logging
from pathlib import Path

import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2

from app.batching_queue import BatchingQueue
from app.model_server import WARMUP, read_warmup

SAVED_MODEL = "saved_model.pb"
ABOUT = "fromzero.json"  # in assets.extra/, where the model is an export of this project
log = logging.getLogger("app.serve")


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


def run(signature, inputs):
    """Calls a `Signature` with {input: np.ndarray}; returns {output: np.ndarray}."""
    tensors = {name: tf.constant(array, signature.inputs[name].dtype) for name, array in inputs.items()}
    answer = signature.function(**tensors)
    return {name: answer[name].numpy() for name in signature.outputs}


def _about(path):
    """A JSON object; {} for what is none, since a model answers without it too."""
    try:
        about = json.loads(path.read_text(encoding="utf-8"), parse_constant=str)  # NaN and Infinity are no JSON
    except (OSError, ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}


def _specs(infos):
    """{name: tf.TensorSpec} of a SignatureDef's inputs or outputs, sorted."""
    return {name: tf.TensorSpec(tf.TensorShape(info.tensor_shape), tf.as_dtype(info.dtype))
            for name, info in sorted(infos.items())}


class ServedModel:
    """The versions of one model.

    Attributes:
        name: of the model.
        folder: of its versions.
        current: the `LoadedVersion` that answers.
        versions: {number: `LoadedVersion`}: it and those whose last requests are being answered.
        broken: {number: the state of its folder}: versions that could not be loaded.
    """

    def __init__(self, folder, batching, observe_batch):
        """Loads the newest version that can be loaded.

        Args:
            folder: a folder of versions 1, 2, …, or one of them, which is then served alone.
            batching: `app.service_settings.Batching`.
            observe_batch: function of the model's name and how many rows a batch has.

        Raises:
            ValueError: there is none.
        """
        folder = Path(folder).absolute()
        self._only = folder.name if (folder / SAVED_MODEL).is_file() and _is_version(folder) else None
        self.folder = folder.parent if self._only else folder
        self.name = self.folder.name
        self.batching, self.observe_batch = batching, functools.partial(observe_batch, self.name)
        self.current, self.versions, self.broken, self._seen = None, {}, {}, {}
        if not (found := self._folders()):
            raise ValueError("an export is a folder of SavedModels in folders 1, 2, …, such as export writes them. "
                             f"Received: {folder}, which holds none")
        for number in sorted(found, reverse=True):
            if version := self._loaded(number, found[number]):
                self.current = self.versions[number] = version
                return
        raise ValueError(f"no version of {folder} can be loaded: see above")

    def _folders(self):
        """{number: folder} of the versions on disk."""
        return {int(path.name): path for path in self.folder.iterdir()
                if _is_version(path) and path.name == (self._only or path.name) and (path / SAVED_MODEL).is_file()
                } if self.folder.is_dir() else {}

    def _loaded(self, number, folder):
        """The version, or None if it is broken."""
        try:
            version = LoadedVersion(number, folder, self.batching, self.observe_batch)
        except Exception as error:  # a broken SavedModel raises whatever its breach leads to
            self.broken[number] = _state(folder)
            first = (str(error).splitlines() or [""])[0]
            log.warning("version %d of %s cannot be loaded: %s: %.500s", number, self.name, type(error).__name__, first)
            return None
        self.broken.pop(number, None)
        return version

    def _wanted(self):
        """(number, folder) of a version to load in place of the current one, or None.

        It is the newest that is not broken; a folder that has changed since the last look is still being written.
        """
        found = self._folders()
        for number in sorted(found, reverse=True):
            if number == self.current.number:
                return None
            state, last = _state(found[number]), self._seen.get(number)
            self._seen[number] = state
            if state != last:
                return None
            if self.broken.get(number) != state:
                return number, found[number]
        return None

    async def refresh(self):
        """Loads what is wanted, lets it answer from now on, and unloads the version before it."""
        if not (wanted := await asyncio.to_thread(self._wanted)):
            return
        if not (version := await asyncio.to_thread(self._loaded, *wanted)):
            return
        before, self.current = self.current, version
        self.versions[version.number] = version
        log.info("version %d of %s answers in place of %d", version.number, self.name, before.number)
        await before.unload()
        del self.versions[before.number], before
        await asyncio.to_thread(gc.collect)  # what TensorFlow loads refers to itself


def _is_version(folder):
    return folder.name.isascii() and folder.name.isdecimal()


def _state(folder):
    """Names, sizes and times of the files in a folder: equal as long as nothing was written."""
    return sorted((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*"))


def load_models(folders, batching, observe_batch=lambda name, rows: None):
    """{name: `ServedModel`}; raises ValueError for what is none and for two of one name."""
    models = {}
    for folder in folders:
        model = ServedModel(folder, batching, observe_batch)
        if model.name in models:
            raise ValueError(f"every model must have a name of its own. Received: {models[model.name].folder} and "
                             f"{model.folder}")
        models[model.name] = model
    return models


async def watch(models, seconds):
    """Looks for new versions of all models every so many seconds, for ever."""
    while True:
        await asyncio.sleep(seconds)
        for model in models.values():
            try:
                await model.refresh()
            except Exception:  # such as a folder that vanishes while it is read; the next look may go well
                log.exception("looking for new versions of %s failed", model.name)
