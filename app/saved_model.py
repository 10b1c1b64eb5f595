"""A `Servable` in, a SavedModel folder out: verified, and with what servers and people read beside it."""

import os
from pathlib import Path

import tensorflow as tf

from app.model_server import WARMUP, with_model, write_warmup
from app.terminal import console
from app.verification import list_operations, verify
from models.run_folder import whole, write_json


def write_saved_model(to, servable):
    """Writes a SavedModel, whole or not at all, and lists it in models.config.

    Args:
        to: the folder.
        servable: `app.servables.Servable`.

    Returns:
        What `list_operations` says.

    Raises:
        OSError: it cannot be written.
        RuntimeError: as `list_operations` and `verify`.
    """
    with whole(to) as temporary:
        save(servable.module, temporary, servable.signatures)
        operations = list_operations(temporary)
        difference = verify(temporary, operations, servable)
        extra = temporary / "assets.extra"
        extra.mkdir()
        if "labels" in servable.about:
            labels = "".join(f"{name}\n" for name in servable.about["labels"])
            (extra / "labels.txt").write_text(labels, encoding="utf-8")
        write_json(extra / "fromzero.json", {**servable.about, "tensorflow": tf.__version__})
        # One text of each language: as many as EXAMPLES would keep a server from starting.
        write_warmup(extra / WARMUP, os.path.basename(os.path.dirname(os.path.abspath(to))), {
            signature: {name: (values[:2], dtype) for name, (values, dtype) in inputs.items()}
            for signature, inputs in servable.inputs.items()})
    if listed := listing(to):
        path, text = listed
        with whole(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    console.print(", ".join(f"{name} {count}" for name, count in operations.items()), markup=False)
    answers = "the answers of the run with its weights rounded" if servable.about["int8"] else "the same answers"
    console.print(f"{len(operations)} operations, core TensorFlow only. A process with TensorFlow alone gives {answers} "
                  f"(largest difference of a number {difference:.1e}).")
    inputs = ", ".join(f"{name}=tf.constant({shown})" for name, shown in (
        (name, '[["…"]]' if isinstance(values[0], list) else '["…"]')
        for name, (values, _) in servable.inputs["serving_default"].items()))
    console.print(f"SavedModel: {to}\n"
                  f'  tf.saved_model.load("{to}").signatures["serving_default"]({inputs})', markup=False)
    if listed:
        console.print(f"listed for Model Server in {path}", markup=False)
    return operations


def save(module, folder, signatures):
    """`tf.saved_model.save`, with TensorFlow's own form of "No space left on device" and the like as an OSError."""
    try:
        tf.saved_model.save(module, str(folder), signatures=signatures)
    except tf.errors.OpError as error:
        raise OSError(f"the SavedModel cannot be written: {error.message}") from error


def listing(to):
    """The models.config to list the model in and its text then; None where it is listed or has no version number.

    Raises:
        ValueError: there is a models.config that cannot be read.
    """
    to = Path(os.path.abspath(to))  # unlike `absolute`, without ..
    path, name = to.parent.parent / "models.config", to.parent.name
    if not (to.name.isascii() and to.name.isdecimal()) or not name:
        return None
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        text = with_model(before, name)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; mend it or choose another --to") from error
    return None if text == before else (path, text)
