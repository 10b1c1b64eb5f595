"""Files appear whole or not at all; damage is recognised; nothing that does not fit is loaded."""

import json
import os

import keras
import numpy as np
import pytest

from models.run_folder import (append_history, cut_history, load_checkpoint, load_config, save_checkpoint, save_config,
                               sha256, whole, write_json)


def some_variables(fill=None, width=3):
    variables = [keras.Variable(np.zeros((2, width)), name="kernel"), keras.Variable(np.zeros(width), name="bias"),
                 keras.Variable(0, dtype="int64", name="iteration")]
    if fill is not None:
        for number, variable in enumerate(variables):
            variable.assign(np.full(variable.shape, fill + number))
    return variables


def values(variables):
    return [np.asarray(variable).tolist() for variable in variables]


def a_finished_run(folder, kind="classifier", **more):
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.weights.h5").write_bytes(b"weights")
    save_config(folder, kind, family="bert", **more)
    return folder


def test_whole_gives_the_final_name_at_the_end(tmp_path):
    path = tmp_path / "new" / "deep" / "a.weights.h5"
    with whole(path) as temporary:
        temporary.write_text("content")
        assert not path.exists() and temporary.name.endswith(".weights.h5") and temporary.parent == path.parent
    assert path.read_text() == "content" and os.listdir(path.parent) == [path.name]


def test_whole_replaces_a_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    write_json(path, {"词": 2})
    assert json.loads(path.read_text(encoding="utf-8")) == {"词": 2} and "词" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_whole_leaves_nothing_behind_after_an_error(tmp_path, kind, error):
    path = tmp_path / "result"
    with pytest.raises(type(error)), whole(path) as temporary:
        if kind == "folder":
            temporary.mkdir()
            (temporary / "part").write_text("half")
        else:
            temporary.write_text("half")
        raise error
    assert os.listdir(tmp_path) == []


def test_whole_keeps_the_old_file_after_an_error(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1} and os.listdir(tmp_path) == ["a.json"]


def test_a_folder_appears_whole(tmp_path):
    with whole(tmp_path / "run") as folder:
        folder.mkdir()
        (folder / "a").write_text("1")
    assert os.listdir(tmp_path) == ["run"] and os.listdir(tmp_path / "run") == ["a"]


def test_config_comes_back(tmp_path):
    folder = a_finished_run(tmp_path / "run", steps=7)
    config = load_config(folder, "classifier")
    assert config["steps"] == 7 and config["kind"] == "classifier"
    assert config["sha256"] == {name: sha256(folder / name) for name in ("tokenizer.json", "model.weights.h5")}


def test_no_run_and_an_unfinished_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="config.json. Received: .*nowhere .no such folder"):
        load_config(tmp_path / "nowhere", "classifier")
    (tmp_path / "begun").mkdir()
    with pytest.raises(FileNotFoundError, match="has not finished: run the same command again"):
        load_config(tmp_path / "begun", "classifier")


def test_another_kind_or_format_is_refused(tmp_path):
    folder = a_finished_run(tmp_path / "run", kind="masked_lm")
    with pytest.raises(ValueError, match="must be a classifier run of format 1. Received: kind=masked_lm, format=1"):
        load_config(folder, "classifier")
    write_json(folder / "config.json", {**json.loads((folder / "config.json").read_text()), "format": 2})
    with pytest.raises(ValueError, match="format=2"):
        load_config(folder, "masked_lm")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"format": 1, "kind": "classifier"}', "\x00"])
def test_a_broken_config_is_an_error_a_user_understands(tmp_path, content):
    folder = a_finished_run(tmp_path / "run")
    (folder / "config.json").write_text(content)
    with pytest.raises(ValueError, match="config.json must be JSON as a training writes it"):
        load_config(folder, "classifier")


@pytest.mark.parametrize("damage", ["changed", "cut short", "missing"])
@pytest.mark.parametrize("name", ["model.weights.h5", "tokenizer.json"])
def test_changed_files_are_refused(tmp_path, name, damage):
    path = a_finished_run(tmp_path / "run") / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"weighty" if damage == "changed" else path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"{name} must be the file that was saved with the run"):
        load_config(path.parent, "classifier")


def test_history_grows_and_is_cut(tmp_path):
    assert cut_history(tmp_path, 5) == []  # nothing there yet
    for step in (1, 5, 9):
        append_history(tmp_path, step=step, loss=1.0 / step)
    assert cut_history(tmp_path, 5) == [{"step": 1, "loss": 1.0}, {"step": 5, "loss": 0.2}]
    append_history(tmp_path, step=6, loss=0.0)
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 5, 6]


def test_history_survives_a_half_written_line(tmp_path):
    append_history(tmp_path, step=1, loss=1.0)
    with open(tmp_path / "history.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 2, "lo')  # killed while writing
    cut_history(tmp_path, 5)
    append_history(tmp_path, step=2, loss=0.5)
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


def test_checkpoints_come_back_and_two_are_kept(tmp_path):
    for step in (5, 10, 15):
        save_checkpoint(tmp_path, step, 2.5 * step, [0.1, step / 3], some_variables(step))
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["step-000000010.npz", "step-000000015.npz"]
    variables = some_variables()
    assert load_checkpoint(tmp_path, variables) == (15, 37.5, [0.1, 5.0], [])
    assert values(variables) == values(some_variables(15))


def test_no_checkpoint(tmp_path):
    variables = some_variables(3)
    assert load_checkpoint(tmp_path, variables) == (0, 0.0, [], [])
    assert values(variables) == values(some_variables(3))


def damage(path, kind):
    content = path.read_bytes()
    changed = bytearray(content)
    changed[len(changed) // 3] ^= 0xFF
    path.write_bytes({"truncated": content[: len(content) // 2], "one byte off the end": content[:-1], "empty": b"",
                      "one byte changed": bytes(changed), "text": b"not a checkpoint"}[kind])


@pytest.mark.parametrize("kind", ["truncated", "one byte off the end", "empty", "one byte changed", "text"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path, kind):
    for step in (5, 10):
        save_checkpoint(tmp_path, step, step, [], some_variables(step, width=300))
    damage(tmp_path / "checkpoints" / "step-000000010.npz", kind)
    variables = some_variables(width=300)
    assert load_checkpoint(tmp_path, variables) == (5, 5.0, [], ["step-000000010.npz"])
    assert values(variables) == values(some_variables(5, width=300))


def test_all_checkpoints_damaged(tmp_path):
    for step in (5, 10):
        save_checkpoint(tmp_path, step, step, [], some_variables(step))
        damage(tmp_path / "checkpoints" / f"step-{step:09d}.npz", "truncated")
    variables = some_variables(1)
    assert load_checkpoint(tmp_path, variables) == (0, 0.0, [], ["step-000000010.npz", "step-000000005.npz"])
    assert values(variables) == values(some_variables(1))
    save_checkpoint(tmp_path, 2, 2.0, [], some_variables(2))  # of the training that begins again
    assert load_checkpoint(tmp_path, variables) == (2, 2.0, [], [])


def test_a_half_written_checkpoint_is_not_looked_at(tmp_path):
    save_checkpoint(tmp_path, 5, 5.0, [], some_variables(5))
    (tmp_path / "checkpoints" / ".part-1-step-000000010.npz").write_bytes(b"half")
    assert load_checkpoint(tmp_path, some_variables()) == (5, 5.0, [], [])
    save_checkpoint(tmp_path, 10, 10.0, [], some_variables(10))
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["step-000000005.npz", "step-000000010.npz"]


def test_what_killed_processes_left_is_removed(tmp_path):
    for number in (2**31 - 1, os.getppid()):  # no process has the first number
        (tmp_path / f".part-{number}-x.json").write_text("half")
    write_json(tmp_path / "x.json", {})
    assert sorted(os.listdir(tmp_path)) == [f".part-{os.getppid()}-x.json", "x.json"]


def test_a_finished_run_has_no_checkpoints(tmp_path):
    save_checkpoint(tmp_path, 5, 5.0, [], some_variables(5))
    a_finished_run(tmp_path)
    assert not (tmp_path / "checkpoints").exists()


def test_a_checkpoint_of_another_size_is_refused(tmp_path):
    save_checkpoint(tmp_path, 5, 5.0, [], some_variables(5))
    with pytest.raises(ValueError, match=r"must fit the model. Received: .*kernel is \(2, 3\) in the checkpoint, "
                                         r"\(2, 4\) in the model"):
        load_checkpoint(tmp_path, some_variables(width=4))
    with pytest.raises(ValueError, match="None in the model"):
        load_checkpoint(tmp_path, some_variables()[:2])
