"""A trained run on disk: config, tokenizer, weights, history. Every file appears whole or not at all; no pickle.

    config.json            what the run is, with the SHA-256 of every other file that loading needs
    tokenizer.json         the tokenizer it was trained with
    *.weights.h5           Keras weights, readable with `model.load_weights`
    catalogue.json         a recommender's items
    history.jsonl          one line an evaluation
    checkpoints/           while a training runs that can go on
"""

import contextlib
import glob
import hashlib
import json
import os
import re
import shutil
import zipfile
import zlib
from pathlib import Path

import numpy as np
import psutil

FORMAT = 1
CHECKPOINTS_KEPT = 2


@contextlib.contextmanager
def whole(path):
    """Yields a temporary path beside `path`; what was written there gets the name `path` at the end, or is removed.

    Works for files and for folders. A full disk or Ctrl-C leaves nothing half-written under the final name.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: Keras chooses the format of weights by it.
    temporary = path.with_name(f".part-{os.getpid()}-{path.name}")
    for leftover in path.parent.glob(f".part-*-{glob.escape(path.name)}"):  # of killed processes
        number = leftover.name.split("-")[1]
        if number == str(os.getpid()) or number.isdecimal() and not psutil.pid_exists(int(number)):
            _remove(leftover)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        _remove(temporary)


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path, values):
    """Writes JSON, readable by people, whole or not at all."""
    with whole(path) as temporary:
        temporary.write_text(json.dumps(values, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def sha256(path):
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_free(folder):
    """Raises ValueError unless the folder is new, or holds a training that was begun and not finished."""
    if (folder / "config.json").exists():
        raise ValueError(f"--to must be a new folder. Received: {folder}, which holds a finished training")
    if not (folder / "options.json").exists() and folder.exists() and any(folder.iterdir()):
        raise ValueError(f"--to must be a new folder. Received: {folder}, which holds other files")


def save_config(folder, kind, **values):
    """Finishes a run folder: from now on it can be loaded, and its checkpoints go.

    Args:
        folder: holds the run's files already.
        kind: "masked_lm", "causal_lm", "denoiser", "classifier", "seq2seq", "span", "recommender" or "extractor".
        values: what loading needs to build the model again; JSON types.
    """
    folder = Path(folder)
    # An extractor has no tokenizer, and a recommender alone a catalogue.
    files = [*folder.glob("tokenizer.json"), *sorted(folder.glob("*.weights.h5")), *folder.glob("catalogue.json")]
    hashes = {path.name: sha256(path) for path in files}
    write_json(folder / "config.json", {"format": FORMAT, "kind": kind, **values, "sha256": hashes})
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def load_config(folder, *kinds):
    """Reads a finished run's config and holds the run's files against the hashes in it.

    Args:
        kinds: what the run may be, as `save_config` was told.

    Raises:
        FileNotFoundError: no such run, or one that was not finished.
        ValueError: another kind of run, a newer format, or a file that was changed or cut short.
    """
    folder = Path(folder)
    path = folder / "config.json"
    if not path.exists():
        reason = "its training has not finished: run the same command again" if folder.is_dir() else "no such folder"
        raise FileNotFoundError(f"a run folder holds config.json. Received: {folder} ({reason})")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        found, number, hashes = config["kind"], config["format"], config["sha256"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} must be JSON as a training writes it. Received: {error!r}") from None
    if number != FORMAT or found not in kinds:
        raise ValueError(f"{folder} must be a {' or '.join(kinds)} run of format {FORMAT}. "
                         f"Received: kind={found}, format={number}")
    for name, wanted in hashes.items():
        if not (folder / name).exists() or sha256(folder / name) != wanted:
            raise ValueError(f"{folder / name} must be the file that was saved with the run (SHA-256 in config.json). "
                             "It is missing, changed or cut short: train again or restore it.")
    return config


def append_history(folder, **values):
    """Adds a line to history.jsonl."""
    with open(Path(folder) / "history.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def cut_history(folder, step):
    """Drops the lines after a step, which a resumed training writes again, and one that a full disk cut short.

    Returns:
        list of dicts, the entries that stay.
    """
    path = Path(folder) / "history.jsonl"
    entries = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                entries.append(json.loads(line))
        entries = [entry for entry in entries if entry["step"] <= step]
        with whole(path) as temporary:
            temporary.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries), encoding="utf-8")
    return entries


def save_checkpoint(folder, step, seconds, losses, variables):
    """Saves all that training needs to go on; keeps the newest two.

    Args:
        folder: the run folder.
        step: steps done.
        seconds: time spent training.
        losses: of the steps since the last evaluation, whose mean the next line of the history holds.
        variables: Keras variables of model and optimizer, always in the same order.
    """
    arrays = {name: np.asarray(variable) for name, variable in zip(_names(variables), variables)}
    checkpoints = Path(folder) / "checkpoints"
    with whole(checkpoints / f"step-{step:09d}.npz") as temporary, open(temporary, "wb") as file:
        np.savez(file, step=step, seconds=seconds, losses=np.array(losses), **arrays)
        file.flush()
        os.fsync(file.fileno())
    killed = checkpoints.glob(".part-*")  # left by a process that was killed while it wrote
    for old in [*killed, *sorted(checkpoints.glob("step-*.npz"))[:-CHECKPOINTS_KEPT]]:
        old.unlink()


def load_checkpoint(folder, variables):
    """Puts the newest readable checkpoint into the variables.

    A truncated or damaged file is recognised by the checksums inside the archive; it gets the ending .damaged, and the
    one before it is used.

    Returns:
        (step, seconds, losses, names of the damaged files), or (0, 0.0, [], names) when there is no checkpoint.

    Raises:
        ValueError: the checkpoint belongs to a model of another size.
    """
    damaged = []
    for path in sorted((Path(folder) / "checkpoints").glob("step-*.npz"), reverse=True):
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            step, seconds, losses = (arrays.pop(name).tolist() for name in ("step", "seconds", "losses"))
        except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, KeyError, NotImplementedError, RuntimeError):
            damaged.append(path.name)
            path.rename(f"{path}.damaged")  # else it would count as one of the newest two
            continue
        wanted = {name: tuple(variable.shape) for name, variable in zip(_names(variables), variables)}
        found = {name: array.shape for name, array in arrays.items()}
        if found != wanted:
            name = next(name for name in sorted(wanted.keys() | found.keys()) if wanted.get(name) != found.get(name))
            raise ValueError(f"{path} must fit the model. Received: {name} is {found.get(name)} in the checkpoint, "
                             f"{wanted.get(name)} in the model. Choose another folder or the same sizes.")
        for variable, array in zip(variables, arrays.values()):
            variable.assign(array)
        return step, seconds, losses, damaged
    return 0, 0.0, [], damaged


def _names(variables):
    """A checkpoint's names for variables: number and path."""
    # Keras counts the seeds of dropout in a process: those of a notebook's second training must fit the first's.
    return [f"{number:04d} {re.sub('seed_generator[_0-9]*/', 'seed_generator/', variable.path)}"
            for number, variable in enumerate(variables)]
