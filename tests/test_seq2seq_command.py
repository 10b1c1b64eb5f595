"""An encoder–decoder learns eight pairs by heart, writes, is measured and exported, and goes on where it stopped."""

import contextlib
import csv
import json
import math

import numpy as np
import pytest
import tensorflow as tf

from app.__main__ import main
from app.evaluate import evaluate
from app.export import export
from app.predict import predict
from app.seq2seq import seq2seq
from app.text_scores import text_scores
from app.writer import load_writer
from models.generation import Beams

PAIRS = {"the film was good": "Der Film war gut", "the book was good": "Das Buch war gut", "a red house": "Ein rotes Haus",
         "我喜欢电影": "I like films", "我喜欢书": "I like books", "two dogs run": "Zwei Hunde laufen",
         "two cats run": "Zwei Katzen laufen", "the house is red": "Das Haus ist rot"}
OPTIONS = {"text_column": "en", "target_column": "de", "num_layers": 1, "hidden_dim": 32, "num_heads": 2, "batch_size": 4,
           "learning_rate": 1e-2, "dropout": 0.0, "source_length": 16, "target_length": 20, "vocabulary_size": 200}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(the pairs, pairs to measure by): .csv with the columns en and de."""
    folder = tmp_path_factory.mktemp("pairs")
    for name, pairs in (("train", PAIRS), ("validation", {"a red film": "Ein roter Film"})):
        with open(folder / f"{name}.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("en", "de"), *pairs.items()])
    return str(folder / "train.csv"), str(folder / "validation.csv")


@pytest.fixture(scope="module")
def run(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "en-de"
    seq2seq(data=files[0], validation=files[1], to=folder, steps=120, **OPTIONS)
    return folder


def test_it_writes_what_it_has_learned(run, capsys):
    for beams in (1, 4):
        found = predict(run, tuple(PAIRS), num_beams=beams)
        assert [result["written"] for result in found] == list(PAIRS.values())
        assert capsys.readouterr().out.splitlines() == list(PAIRS.values())
    assert predict(run, ("  ", "a red house\n"))[0]["written"] is None


def test_a_file_gets_a_column(run, files, tmp_path):
    counts = predict(run, data=files[0], to=tmp_path / "out.csv", text_column="en")
    with open(tmp_path / "out.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert counts["rows"] == 8 and [row["text_written"] for row in rows] == [row["de"] for row in rows] == [*PAIRS.values()]


def test_evaluate_scores_what_is_written(run, files):
    found = evaluate(run, data=files[0], text_column="en", target_column="de")
    assert found["bleu"] == pytest.approx(100) and found["rougeL"] == pytest.approx(1) and found["n_examples"] == 8
    assert found["examples"][0] == {"text": "the film was good", "target": "Der Film war gut", "written": "Der Film war gut"}
    (report,) = run.glob("evaluation-train-*.json")
    assert json.loads(report.read_text(encoding="utf-8")) == found


def test_an_export_writes_what_the_run_writes(run, tmp_path):
    operations = export(run, to=tmp_path / "1", num_beams=3, no_repeat_ngram_size=3)
    assert not any(name.startswith("Xla") for name in operations)
    signature = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    texts = [*PAIRS, "", "unseen words", "Das Haus ist rot", "long " * 100]  # the third in the target's language
    writer = load_writer(run)
    for some in (texts, texts[:1]):
        written = [text.decode() for text in signature(text=tf.constant(some))["text_written"].numpy()]
        assert written == writer.write(some, Beams(3, 1.0, 3))
    assert signature(text=tf.constant([], tf.string))["text_written"].shape == (0,)


def test_a_stopped_training_goes_on_and_ends_the_same(files, tmp_path, monkeypatch):
    options = {**OPTIONS, "data": files[0], "validation": files[1], "steps": 12, "checkpoint_every": 5, "dropout": 0.2}
    monkeypatch.setattr("app.history.written", lambda *arguments: [])  # a graph of its own for each training
    whole = seq2seq(to=tmp_path / "whole", **options)
    calls = iter(range(100))

    @contextlib.contextmanager
    def stops_soon():
        yield lambda: next(calls) > 12

    with monkeypatch.context() as patch:
        patch.setattr("app.training.stop_signals", stops_soon)
        with pytest.raises(KeyboardInterrupt, match="Saved at step"):
            seq2seq(to=tmp_path / "stopped", **options)
    resumed = seq2seq(to=tmp_path / "stopped", **options)
    assert resumed["validation_loss"] == pytest.approx(whole["validation_loss"], rel=1e-6)
    first, second = (load_writer(tmp_path / name).model.get_weights() for name in ("whole", "stopped"))
    for one, other in zip(first, second):
        np.testing.assert_allclose(one, other, atol=1e-6)
    with pytest.raises(ValueError, match="finished training"):
        seq2seq(to=tmp_path / "whole", **options)


def test_scores_against_counts_by_hand():
    # Modified precisions 5/6, 3/5, 1/4 and, smoothed, 1/6; no penalty for brevity.
    found = text_scores(["the cat sat on a mat"], ["the cat is on a mat"])
    by_hand = 100 * (5 / 6 * 3 / 5 * 1 / 4 * 1 / 6) ** 0.25
    assert found["bleu"] == pytest.approx(by_hand, rel=1e-6) and "tok:13a" in found["bleu_signature"]
    assert found["rouge1"] == pytest.approx(5 / 6) and found["rouge2"] == pytest.approx(3 / 5)
    assert found["rougeL"] == pytest.approx(5 / 6)
    short = text_scores(["the cat is on"], ["the cat is on a mat"])
    assert short["bleu"] == pytest.approx(100 * math.exp(1 - 6 / 4), rel=1e-6)
    for text in ("Он читает книгу", "Das Mädchen läuft", "ภาษาไทย", "映画を見る"):
        found = text_scores([text], [text])
        assert found["rouge1"] == found["rougeL"] == 1 and found["chrf"] == pytest.approx(100)
    assert text_scores(["für Mädchen"], ["für Mädchen ja"])["rouge1"] == pytest.approx(0.8)
    assert text_scores(["für Mädchen"], ["für Madchen ja"])["rouge1"] == pytest.approx(0.4)
    chinese = text_scores(["我喜欢看电影"], ["我很喜欢电影"])
    assert "tok:zh" in chinese["bleu_signature"] and chinese["rouge1"] == pytest.approx(5 / 6)
    assert chinese["rouge2"] == pytest.approx(2 / 5) and chinese["rougeL"] == pytest.approx(5 / 6)


def test_mistakes_are_one_line(run, files, classifier_run, tmp_path, capsys):
    few = tmp_path / "few.csv"
    few.write_text("text,target\n" + "a,b\n" * 10, encoding="utf-8")
    training = ["seq2seq", "--data", files[0], "--text-column", "en", "--to", tmp_path / "run"]
    for arguments, rule in (([*training, "--target-column", "fr"], "must be a column fr for the target"),
                            ([*training, "--target-column", "de", "--dropout", "1"], "--dropout must be in [0, 1)"),
                            (["seq2seq", "--data", few, "--to", tmp_path / "run"], "a twentieth of the pairs is held out"),
                            (["export", run, "--to", tmp_path / "export", "--tokens", "5"], "--tokens is for a GPT"),
                            (["generate", run, "a"], "a run to take here is a GPT"),
                            (["evaluate", run, "--data", files[0], "--label-column", "de"], "is for a classifier"),
                            (["predict", run, "a", "--num-beams", "0"], "--num-beams must be at least 1"),
                            (["evaluate", classifier_run, "--data", files[0], "--target-column", "de"],
                             "--target-column is for an encoder–decoder"),
                            ([*training, "--tokenizer", tmp_path / "no.json"], "no.json, which does not exist"),
                            ([*training[:-1], run], "holds a finished training")):
        assert main([*map(str, arguments)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and rule in error, error
    assert not (tmp_path / "run").exists() and not (tmp_path / "export").exists()
