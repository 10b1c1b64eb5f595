"""The command prepare: its folder, its summary, what it refuses."""

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from app.__main__ import main
from app.prepare import prepare
from data.prepared import load_prepared
from data.tokenizer import CLS

SENTENCES = [f"the {adjective} cat number {number} sat on the {place} and looked at the {thing} for a long time"
             for number, (adjective, place, thing) in enumerate(
                 (a, p, t) for a in ("old", "young", "grey", "lazy") for p in ("mat", "roof", "wall", "stairs", "sofa")
                 for t in ("moon", "bird", "fish", "rain", "door"))]
OPTIONS = {"vocabulary_size": 300, "sequence_length": 32, "validation_share": 0.1}


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join([*SENTENCES, SENTENCES[0], "", "这是一个很好的产品，质量不错"]) + "\n", encoding="utf-8")
    return path


def test_the_folder_holds_rows_tokenizer_and_manifest(text, tmp_path):
    manifest = prepare(str(text), to=tmp_path / "corpus", **OPTIONS)  # one source needs no tuple
    counts = manifest["documents"]
    assert counts["read"] == len(SENTENCES) + 3
    assert (counts["exact_duplicates"], counts["empty"]) == (1, 1)
    assert counts["train"] + counts["validation"] + counts["near_duplicates"] == len(SENTENCES) + 1
    prepared = load_prepared(tmp_path / "corpus")
    assert prepared.train_rows.shape == (manifest["rows"]["train"], 32)
    assert prepared.token_counts.sum() == manifest["tokens"] == np.count_nonzero(prepared.train_rows >= 5) + (
        np.count_nonzero(prepared.train_rows == 1))
    assert not list((tmp_path / "corpus").glob("documents*"))  # the spool is gone


def test_a_second_run_finds_its_work_and_another_recipe_is_refused(text, tmp_path, capsys):
    first = prepare((str(text),), to=tmp_path / "corpus", **OPTIONS)
    rows = (tmp_path / "corpus" / "train.rows").stat().st_mtime_ns
    assert prepare((str(text),), to=tmp_path / "corpus", **OPTIONS) == first
    assert (tmp_path / "corpus" / "train.rows").stat().st_mtime_ns == rows
    with pytest.raises(ValueError, match="sequence_length"):
        prepare((str(text),), to=tmp_path / "corpus", **{**OPTIONS, "sequence_length": 16})
    text.write_text("another text\nand one more\n", encoding="utf-8")
    assert main(["prepare", str(text), "--to", str(tmp_path / "corpus"), "--vocabulary-size", "300",
                 "--sequence-length", "32", "--validation-share", "0.1"]) == 2
    assert "prepared from other sources or settings (sources)" in capsys.readouterr().err


def test_held_out_documents_are_taken_out(text, tmp_path):
    held_out = tmp_path / "test.csv"
    held_out.write_text("text,label\n" + "".join(f"{line.upper()},1\n" for line in SENTENCES[:7]), encoding="utf-8")
    counts = prepare((str(text),), held_out=(str(held_out),), to=tmp_path / "corpus", **OPTIONS)["documents"]
    assert counts["held_out"] == 7
    assert counts["contaminated"] >= 7


def test_given_validation_is_measured_on_whole_and_not_learned(text, tmp_path):
    measured = tmp_path / "validation.txt"
    measured.write_text("\n".join([*SENTENCES[:3], SENTENCES[0], "a new one"]), encoding="utf-8")
    options = {**OPTIONS, "near_duplicates": 1.0}
    counts = prepare((str(text),), validation=(str(measured),), to=tmp_path / "corpus", **options)["documents"]
    assert (counts["validation"], counts["contaminated"], counts["held_out"]) == (5, 4, 0)  # the first stands there twice
    assert counts["train"] == len(SENTENCES) + 1 - 3
    prepared = load_prepared(tmp_path / "corpus")
    assert (prepared.validation_rows == CLS).sum() == 5
    with pytest.raises(ValueError, match="validation"):
        prepare((str(text),), to=tmp_path / "corpus", **options)
    measured.write_text("\n\n", encoding="utf-8")
    with pytest.raises(ValueError, match="texts for validation must be given"):
        prepare((str(text),), validation=(str(measured),), to=tmp_path / "other", **options)
    assert not (tmp_path / "other").exists()


def test_characters_keep_case_and_lines(tmp_path):
    play = "First Citizen:\nSpeak,  speak!\n\nAll:\n…"
    (tmp_path / "play.txt").write_text(play + " 好", encoding="utf-8")
    (tmp_path / "end.txt").write_text(play, encoding="utf-8")
    prepare((str(tmp_path / "play.txt"),), validation=(str(tmp_path / "end.txt"),), characters=True, whole_files=True,
            near_duplicates=1.0, sequence_length=64, to=tmp_path / "corpus")
    prepared = load_prepared(tmp_path / "corpus")
    assert prepared.tokenizer.vocabulary[5:] == sorted({*play.replace(" ", "▁").replace("…", "."), "好"})
    (row,) = prepared.validation_rows.astype(np.int32)
    assert prepared.tokenizer.decode([row]).numpy()[0].decode() == play.replace("  ", " ").replace("…", "...")
    assert main(["prepare", str(tmp_path / "play.txt"), "--to", str(tmp_path / "few"), "--characters",
                 "--vocabulary-size", "6"]) == 2


def test_a_given_tokenizer_is_used(text, tmp_path):
    prepare((str(text),), to=tmp_path / "first", **OPTIONS)
    tokenizer = tmp_path / "first" / "tokenizer.json"
    prepare((str(text),), to=tmp_path / "second", tokenizer=tokenizer,
            **{name: value for name, value in OPTIONS.items() if name != "vocabulary_size"})
    assert (tmp_path / "second" / "tokenizer.json").read_bytes() == tokenizer.read_bytes()


@pytest.mark.parametrize(("options", "message"), [
    (["--validation-share", "0"], "--validation-share must be above 0"),
    (["--tokenizer", "nowhere.json"], "nowhere.json"),
    (["--vocabulary-size", "20"], "vocabulary"),
    (["--tokenizer", "mine.json", "--keep-case"], "leave them out beside --tokenizer"),
    (["--text-column", "body"], "body"),
])
def test_impossible_options_leave_nothing_behind(text, tmp_path, capsys, options, message):
    target = tmp_path / "corpus"
    assert main(["prepare", str(text), "--to", str(target), *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert os.listdir(tmp_path) == [text.name]


def test_an_empty_folder_is_new(text, tmp_path):
    (tmp_path / "corpus").mkdir()
    assert prepare((str(text),), to=tmp_path / "corpus", **OPTIONS)["rows"]["train"]


def test_a_folder_with_something_else_is_not_touched(text, tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="must be a new folder"):
        prepare((str(text),), to=tmp_path / "corpus", **OPTIONS)
    assert (tmp_path / "corpus" / "thesis.txt").read_text() == "mine"


@pytest.mark.slow
def test_control_characters_and_a_10_mb_line_do_no_harm(tmp_path):
    path = tmp_path / "odd.txt"
    path.write_bytes("\n".join([*SENTENCES, "a" * 10_000_000, "bell \x07 and nul \x00 inside", "lone \x1b[31m escape"]).encode())
    command = [sys.executable, "-m", "app", "prepare", str(path), "--to", str(tmp_path / "corpus"),
               "--vocabulary-size", "300", "--sequence-length", "32", "--validation-share", "0.1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "corpus" / "manifest.json").read_text())["tokens"] > 600_000


def test_a_full_disk_is_named(corpus_files, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("data.packing.RowWriter.add", full)
    assert main(["prepare", *corpus_files, "--to", str(tmp_path / "corpus"), "--vocabulary-size", "300"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: the disk is full") and "run the same command again" in shown
    assert not any(tmp_path.iterdir())
