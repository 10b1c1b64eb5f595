"""Folders of versions in, the newest of each out: watched, replaced without a stop."""

import asyncio
import functools
import gc
import logging
import os
import threading
from pathlib import Path

from app.loaded_version import SAVED_MODEL, LoadedVersion

log = logging.getLogger("app.serve")
loading = threading.Lock()  # one version at a time: two would need the memory of both


class ServedModel:
    """The versions of one model.

    Attributes:
        name: of the model.
        folder: of its versions.
        current: the `app.loaded_version.LoadedVersion` that answers.
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
        folder = Path(os.path.abspath(folder))  # unlike `absolute`, without ..
        self._only = folder.name if (folder / SAVED_MODEL).is_file() and _is_version(folder) else None
        self.folder = folder.parent if self._only else folder
        self.name = self.folder.name
        if ":" in self.name:
            raise ValueError(f"the name of a model must have no colon, which ends it in a request. Received: {self.folder}")
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
            with loading:
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
        self.broken = {number: state for number, state in self.broken.items() if number in found}
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
        await asyncio.to_thread(collect_garbage)


def collect_garbage():
    """Frees what refers to itself, as what TensorFlow loads does; all that is left Python need not look through again.

    Its full collections, some of them under load each minute, would stop every answer for 0.2 s.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


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
    collect_garbage()
    return models


async def watch(models, seconds):
    """Looks for new versions of all models every so many seconds, for ever; no model waits for another's."""
    await asyncio.gather(*(_watch(model, seconds) for model in models.values()))


async def _watch(model, seconds):
    while True:
        await asyncio.sleep(seconds)
        try:
            await model.refresh()
        except Exception:  # such as a folder that vanishes while it is read; the next look may go well
            log.exception("looking for new versions of %s failed", model.name)
