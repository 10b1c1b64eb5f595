"""An extractor learns which sentence, or which part of one, is wanted; it predicts, is measured and exported."""

import csv
import json

import numpy as np
import pytest
import tensorflow as tf

from app.__main__ import main
from app.evaluate import evaluate
from app.export import export
from app.extract import extract
from app.extractor import load_extractor
from app.predict import predict


def some_pairs(count, seed):
    """(text of five sentences, its second one, the first four words of that), half of them in Chinese."""
    random = np.random.default_rng(seed)
    english, chinese = [f"word{number}" for number in range(400)], [chr(0x4E00 + number) for number in range(400)]
    pairs = []
    for number in range(count):
        if number % 2:
            sentences = [f"{''.join(row[:4])}，{''.join(row[4:])}。"
                         for row in random.choice(chinese, (5, 9), replace=False)]
        else:
            sentences = [f"{' '.join(row[:4])}, {' '.join(row[4:])}.".capitalize()
                         for row in random.choice(english, (5, 9), replace=False)]
        text = ("" if number % 2 else " ").join(sentences)
        pairs.append((text, sentences[1], sentences[1].replace("，", ",").split(",")[0]))
    return pairs


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(pairs to learn from, pairs to measure by): .csv with the columns article, summary, headline."""
    folder = tmp_path_factory.mktemp("pairs")
    for name, count in (("train", 120), ("test", 20)):
        with open(folder / f"{name}.csv", "w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("article", "summary", "headline"))
            rows.writerows(some_pairs(count, seed=count))
    with open(folder / "train.csv", "a", encoding="utf-8") as file:
        file.write("no summary,,\n,no article,no article\n")
    return str(folder / "train.csv"), str(folder / "test.csv")


@pytest.fixture(scope="module")
def run(files, tmp_path_factory):
    """Of summaries."""
    folder = tmp_path_factory.mktemp("runs") / "summaries"
    assert extract(data=files[0], to=folder, target_column="summary") == {
        "target_length": 9.0, "in_parts": False, "num_examples": 120}
    return folder


def test_it_finds_sentences(run, files, tmp_path, capsys):
    found = evaluate(run, data=files[1], target_column="summary")
    assert found["rouge1"] > 0.9 > 0.6 > found["beside"]["lead3"]["rouge1"] > found["beside"]["lead1"]["rouge1"]
    assert found["beside"]["oracle"]["rougeL"] == pytest.approx(1)
    assert "the first three: ROUGE-1 0." in capsys.readouterr().out
    (report,) = run.glob("evaluation-test-*.json")
    assert json.loads(report.read_text(encoding="utf-8")) == found
    counts = predict(run, data=files[1], to=tmp_path / "out.csv")
    with open(tmp_path / "out.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert counts["rows"] == 20 and sum(row["text_written"] == row["summary"] for row in rows) >= 18
    results = predict(run, (" ", "Only this one sentence, whatever else.", "两句。好。"))
    assert [result["written"] for result in results] == [None, "Only this one sentence, whatever else.", "两句。好。"]


def test_short_targets_are_parts_of_sentences(files, tmp_path):
    result = extract(data=files[0], to=tmp_path / "headlines", target_column="headline")
    assert result["target_length"] == 4.0 and result["in_parts"]
    found = evaluate(tmp_path / "headlines", data=files[1], target_column="headline")
    assert found["rouge1"] > 0.9 > 0.5 > found["beside"]["lead1"]["rouge1"]
    assert load_extractor(tmp_path / "headlines").write(["Only this"]) == ["Only this"]


def test_training_has_no_chance_in_it(run, files, tmp_path):
    extract(data=files[0], to=tmp_path / "again", target_column="summary")
    for first, second in zip(*(load_extractor(folder).model.get_weights() for folder in (run, tmp_path / "again"))):
        np.testing.assert_array_equal(first, second)


def test_memory_is_bounded(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("app.extract.MOST_WORDS", 500)
    monkeypatch.setattr("app.extractor.BATCH_CHARACTERS", 1000)
    result = extract(data=files[0], to=tmp_path / "few", target_column="summary")
    assert 10 < result["num_examples"] < 30
    assert f"{result['num_examples']} of 120 pairs are learned from" in capsys.readouterr().out


def test_an_export_writes_what_the_run_writes(run, tmp_path):
    assert export(run, to=tmp_path / "1")
    signature = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    texts = [*(text for text, _, _ in some_pairs(6, seed=5)), "", "One. Two."]
    for some in (texts, texts[:1]):
        written = [text.decode() for text in signature(text=tf.constant(some))["text_written"].numpy()]
        assert written == load_extractor(run).write(some)
    assert signature(text=tf.constant([], tf.string))["text_written"].shape == (0,)


def test_mistakes_are_one_line(run, files, tmp_path, capsys):
    nothing = tmp_path / "nothing.csv"
    nothing.write_text("text,target\n" + "some text,others\n" * 3, encoding="utf-8")
    training = ["extract", "--data", files[0], "--to", tmp_path / "run"]
    for arguments, rule in (([*training, "--target-column", "title"], "must be a column title for the target"),
                            ([*training[:-1], run], "--to must be a new folder"),
                            (["extract", "--data", nothing, "--to", tmp_path / "run"], "must share some words"),
                            (["predict", run, "a", "--num-beams", "2"], "--num-beams is for an encoder–decoder"),
                            (["export", run, "--to", tmp_path / "export", "--tokens", "5"], "--tokens is for a GPT"),
                            (["export", run, "--to", tmp_path / "export", "--int8"], "--int8 is for a classifier or a GPT"),
                            (["generate", run, "a"], "a run to take here is a GPT")):
        assert main([*map(str, arguments)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and rule in error, error
    assert not (tmp_path / "run").exists() and not (tmp_path / "export").exists()
