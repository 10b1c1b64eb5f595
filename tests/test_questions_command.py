"""A run of questions learns by heart, answers from files and windows, is measured and exported, and goes on."""

import contextlib
import csv
import dataclasses
import io
import json

import numpy as np
import pytest
import tensorflow as tf

from app.__main__ import main
from app.answer_scores import answer_scores, chinese_agreement, english_agreement
from app.answerer import load_answerer
from app.evaluate import evaluate
from app.export import export
from app.predict import predict
from app.questions import questions
from models.heads import FORBIDDEN
from models.run_folder import save_config

PLACES = {"Anna": "Paris", "Bob": "Rome", "Carla": "New York", "张三": "北京", "李四": "上海"}
ASKED = [("Where does Anna live?", "Anna lives in PARIS.", "PARIS"), ("Where does Bob live?", "Bob  lives in Rome now.", "Rome"),
         ("Where does Carla live?", "In New\nYork, Carla says.", "New\nYork"), ("张三住在哪里？", "张三住在北京。", "北京"),
         ("李四住在哪里？", "有人说，李四住在上海。", "上海"), ("Who lives in Rome?", "Bob lives in Rome.", "Bob")]
OPTIONS = {"batch_size": 4, "learning_rate": 3e-3, "dropout": 0.1, "sequence_length": 48, "vocabulary_size": 200,
           "steps": 60, "checkpoint_every": 7, "answer_length": 8}


def write(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("question", "context", "answer"), *rows])
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("questions")
    return (write(folder / "train.csv", ASKED),
            write(folder / "validation.csv", [("Where does Dora live?", "Dora lives in Oslo.", "Oslo")]))


@pytest.fixture(scope="module")
def run(files, tmp_path_factory):
    """A training that was stopped once and went on."""
    folder, calls = tmp_path_factory.mktemp("runs") / "answers", iter(range(1000))

    @contextlib.contextmanager
    def stops_soon():
        yield lambda: next(calls) > 40

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.training.stop_signals", stops_soon)
        with pytest.raises(KeyboardInterrupt, match="Saved at step"):
            questions(data=files[0], validation=files[1], to=folder, **OPTIONS)
    result = questions(data=files[0], validation=files[1], to=folder, **OPTIONS)
    assert result["step"] == 60
    return folder


@pytest.fixture(scope="module")
def answerer(run):
    return load_answerer(run)


def test_a_training_that_went_on_ends_the_same(run, files, tmp_path):
    questions(data=files[0], validation=files[1], to=tmp_path / "whole", **OPTIONS)
    first, second = (load_answerer(folder).model.get_weights() for folder in (run, tmp_path / "whole"))
    for one, other in zip(first, second):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_it_answers_what_it_has_learned(run, capsys, monkeypatch):
    texts = [text for question, context, _ in ASKED for text in (question, context)]
    found = predict(run, tuple(texts))
    assert [result["answer"] for result in found] == [answer for _, _, answer in ASKED]
    assert all(0.3 < result["score"] <= 1 for result in found)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == f"New York\t{found[2]['score']:.4f}\tWhere does Carla live?"
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{ASKED[0][0]}\t{ASKED[0][1]}\nwhat?\t \n"))
    assert predict(run) == {"rows": 2}
    assert capsys.readouterr().out.splitlines() == [f"PARIS\t{found[0]['score']:.4f}\t{ASKED[0][0]}", "\t\twhat?"]


def test_a_file_gets_columns(run, tmp_path):
    source = write(tmp_path / "in.csv", [*ASKED, ("", "a text", ""), ("a question", "", "")])
    counts = predict(run, data=source, to=tmp_path / "out.csv")
    with open(tmp_path / "out.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert counts["rows"] == 8 and counts["empty"] == 2
    assert [row["answer_predicted"] for row in rows] == [row["answer"] for row in rows[:6]] + ["", ""]
    assert all(0 < float(row["score"]) <= 1 for row in rows[:6]) and rows[7]["score"] == ""


def test_evaluate_counts_matches(run, files, tmp_path):
    found = evaluate(run, data=files[0])
    assert found["exact_match"] == found["f1"] == 100 and found["n_examples"] == 6 and found["metric"] == "SQuAD"
    (report,) = run.glob("evaluation-train-*.json")
    assert json.loads(report.read_text(encoding="utf-8")) == json.loads(json.dumps(found))
    other = write(tmp_path / "other.csv", [ASKED[0], ("Who?", "Bob lives in Rome.", "nobody at all"), ("Who?", "Bob.", "")])
    found = evaluate(run, data=other, report=tmp_path / "other")
    assert found["exact_match"] == pytest.approx(100 / 3) and found["with_answer"]["exact_match"] == 50
    assert found["without_answer"] == {"n_examples": 1, "exact_match": 0, "f1": 0}  # it was trained on answers alone


def test_an_export_answers_as_the_run_does(run, answerer, tmp_path):
    operations = export(run, to=tmp_path / "1")
    assert not any(name.startswith("Xla") for name in operations)
    signature = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    asked = [*ASKED, ("", "", ""), ("why?", "no answer here " * 90, ""), ("Where does Anna live?", "x " * 90 + ASKED[0][1], "")]
    texts, contexts, _ = map(list, zip(*asked))
    for count in (len(asked), 1):
        found = signature(question=tf.constant(texts[:count]), context=tf.constant(contexts[:count]))
        expected = answerer.answer(texts[:count], contexts[:count])
        assert [answer.decode() for answer in found["answer"].numpy()] == [answer for answer, _ in expected]
        np.testing.assert_allclose(found["score"], [score for _, score in expected], atol=1e-5)
        for context, answer, start in zip(contexts, found["answer"].numpy(), found["start"].numpy()):
            assert context[start:].startswith(answer.decode())
    assert found["start"].numpy() == ASKED[0][1].index("PARIS")
    none = signature(question=tf.constant([], tf.string), context=tf.constant([], tf.string))
    assert none["answer"].shape == none["score"].shape == none["start"].shape == (0,)


def looks_for(token_id, always=True, doubt=4.0):
    """In place of a span model: answers are tokens of this number, and [CLS] has a logit of its own."""
    def model(batch, training):
        logits = tf.where(batch["token_ids"] == token_id, 8.0, tf.where(batch["token_ids"] > 4, 0.0, FORBIDDEN))
        logits = tf.concat([tf.fill([tf.shape(logits)[0], 1], doubt), logits[:, 1:]], axis=1)
        return tf.stack([logits, logits], axis=1)

    return {"model": model, "always_answers": always}


def test_windows_and_no_answer(answerer):
    (wanted,) = answerer.tokenizer.encode(["rome"]).to_list()
    assert len(wanted) == 1
    always, doubtful = (dataclasses.replace(answerer, **looks_for(wanted[0], always)) for always in (True, False))
    long = "nobody lives here now " * 60
    contexts = [f"{long} ＲＯＭＥ. {long}", long, "Rome", "", "\u200b", "in\x00 Rome\u0301e"]
    asked = ["where?"] * len(contexts)
    found = doubtful.answer(asked, contexts)
    assert [answer for answer, _ in found][:5] == ["ＲＯＭＥ", "", "Rome", "", ""]
    assert all(0 < score <= 1 for _, score in found) and found[2][1] > 0.9
    assert [answer for answer, _ in always.answer(asked, contexts)][:5] == ["ＲＯＭＥ", always.answer(asked[:1], [long])[0][0],
                                                                           "Rome", "", ""]
    assert always.answer(asked[:1], [long])[0][0] in long != ""
    assert always.answer([], []) == []
    assert doubtful.answer(["Rome"], [long])[0][0] == ""  # nothing out of the question


def test_texts_of_absurd_lengths(answerer):
    (wanted,) = answerer.tokenizer.encode(["rome"]).to_list()
    absurd = dataclasses.replace(answerer, **looks_for(wanted[0]))
    contexts = ["x" * 200_000 + " Rome " + "x" * 200_000, "Rome"]
    assert [answer for answer, _ in absurd.answer(["where? " * 50_000] * 2, contexts)] == ["Rome", "Rome"]


def test_english_agreement_by_hand():
    assert english_agreement("the Eiffel Tower!", "Eiffel  tower") == (1, 1)
    assert english_agreement("in Paris, France", "Paris") == (0, 0.5)  # precision 1/3, recall 1
    assert english_agreement("b a b", "b b c") == (0, pytest.approx(0.8))  # precision 1, recall 2/3
    assert english_agreement("", "") == (1, 1) and english_agreement("", "x") == english_agreement("x", "") == (0, 0)
    assert english_agreement("a", "the") == (1, 1) and english_agreement("théâtre", "theatre") == (0, 0)
    # The answers of the paper's figure 1, and others.
    assert english_agreement("Graupel.", "graupel") == (1, 1) and english_agreement("by gravity", "gravity")[1] == 2 / 3
    assert english_agreement("inside the cloud", "within a cloud") == (0, 0.5)


def test_chinese_agreement_by_hand():
    assert chinese_agreement("《战国无双3》。", "战国无双3") == (1, 1)
    assert chinese_agreement("1991年投入", "1991年") == (0, pytest.approx(2 / 3))  # 2 of 4 units, 2 of 2
    assert chinese_agreement("北京和上海", "上海和北京") == (0, pytest.approx(0.4))  # the longest run has 2 of 5 units
    assert chinese_agreement("Nexon公司", "nexon") == (0, 0.5) and chinese_agreement("364.6公里", "364.6")[1] == 0.5
    assert chinese_agreement("等等……", "等等") == (0, pytest.approx(2 / 3))  # … stays, as in the set's own script
    assert chinese_agreement("", "") == (1, 1) and chinese_agreement("北", "南") == chinese_agreement("", "南") == (0, 0)


def test_the_best_over_the_answers_and_the_rules_of_the_script():
    found = answer_scores(["Paris", "Rome"], [("London", "in Paris", "Paris"), ("in Rome",)])
    assert found == {"n_examples": 2, "exact_match": 50, "f1": pytest.approx(100 * (1 + 2 / 3) / 2), "metric": "SQuAD"}
    found = answer_scores(["北京和上海", "", "x"], [("上海和北京",), (), ()])
    assert found["metric"] == "CMRC 2018" and found["with_answer"]["f1"] == pytest.approx(40)
    assert found["without_answer"]["exact_match"] == 50 and found["f1"] == pytest.approx(100 * 1.4 / 3)


def test_a_training_starts_from_another_ones_answers(run, files, tmp_path):
    """As from questions that `clozes` made; the head and what it reads of the questions come along."""
    options = {**OPTIONS, "steps": 1, "learning_rate": 1e-9, "dropout": 0.0}
    del options["vocabulary_size"]
    questions(data=files[0], validation=files[1], backbone=str(run), to=tmp_path / "further", **options)
    for before, after in zip(load_answerer(run).model.weights, load_answerer(tmp_path / "further").model.weights, strict=True):
        np.testing.assert_allclose(after, before, atol=1e-6)


def test_mistakes_are_one_line(run, files, tmp_path, capsys):
    elsewhere = write(tmp_path / "elsewhere.csv", [("who?", "a text", "me"), ("who?", "another", "him")])
    (tmp_path / "wrong.json").write_text('{"data": 7}', encoding="utf-8")
    (tmp_path / "gpt").mkdir()
    save_config(tmp_path / "gpt", "causal_lm")
    training = ["questions", "--to", tmp_path / "run", "--data"]
    for arguments, rule in (([*training, elsewhere], "a twentieth of the questions is held out"),
                            ([*training, elsewhere, "--validation", files[1]], "whose answers stand in their texts"),
                            ([*training, tmp_path / "wrong.json"], "a .json file of questions must be"),
                            ([*training, files[0], "--answer-column", "reply"], "must be a column reply for the answer"),
                            ([*training, files[0], "--backbone", tmp_path / "gpt"], "must be a masked_lm or span run"),
                            ([*training, files[0], "--sequence-length", "8"], "--sequence-length must be at least 16"),
                            ([*training, files[0], "--dropout", "1"], "--dropout must be in [0, 1)"),
                            (["questions", "--data", files[0], "--to", run], "holds a finished training"),
                            (["predict", run, "a question"], "give an even number of texts"),
                            (["predict", run, "a", "b", "--text-column", "c"], "--text-column is for a classifier or an"),
                            (["export", run, "--to", tmp_path / "export", "--num-beams", "2"], "is for an encoder–decoder"),
                            (["evaluate", run, "--data", tmp_path / "no.json"], "no.json")):
        assert main([*map(str, arguments)]) == 2, arguments
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and rule in error, error
    assert not (tmp_path / "run").exists() and not (tmp_path / "export").exists()
