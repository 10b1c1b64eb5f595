"""Metrics against scikit-learn and slow twins; reports that replace only themselves; pages that need nothing."""

import csv
import json
import re

import numpy as np
import pytest
from sklearn import metrics as reference

from app.classifier_scores import worst_mistakes
from app.evaluate import evaluate
from app.report import html_page
from data.tasks import Examples
from models.metrics import bootstrap_intervals, classification_metrics

NAMES = ("sport", "财经", "<b>law & order</b>")


def some_predictions(examples=600, seed=0, names=NAMES):
    generator = np.random.default_rng(seed)
    labels = generator.choice(len(names), examples, p=[0.6, 0.3, 0.1])
    logits = generator.normal(size=(examples, len(names))) + 1.5 * np.eye(len(names))[labels]
    exponentials = np.exp(logits)
    return labels, (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)


def test_metrics_equal_scikit_learn():
    labels, probabilities = some_predictions()
    predicted = probabilities.argmax(axis=1)
    found = classification_metrics(labels, probabilities, NAMES)
    report = reference.classification_report(labels, predicted, output_dict=True)
    assert found["n_examples"] == 600
    assert found["accuracy"] == pytest.approx(report["accuracy"])
    assert found["macro_f1"] == pytest.approx(report["macro avg"]["f1-score"])
    assert found["weighted_f1"] == pytest.approx(report["weighted avg"]["f1-score"])
    assert found["negative_log_likelihood"] == pytest.approx(reference.log_loss(labels, probabilities), abs=1e-5)
    for number, entry in enumerate(found["classes"]):
        assert entry["label"] == NAMES[number]
        assert entry["f1"] == pytest.approx(report[str(number)]["f1-score"])
        assert entry["support"] == (labels == number).sum()
    assert found["confusion_matrix"] == reference.confusion_matrix(labels, predicted).tolist()
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_metrics_by_hand():
    labels = np.array([0, 0, 0, 1])
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8]])
    found = classification_metrics(labels, probabilities, ("a", "b"))
    assert found["accuracy"] == 0.75
    assert found["classes"][0] == {"label": "a", "precision": 1.0, "recall": pytest.approx(2 / 3),
                                   "f1": pytest.approx(0.8), "support": 3}
    assert found["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert found["confusion_matrix"] == [[2, 1], [0, 1]]


def test_intervals_equal_a_bootstrap_over_examples():
    labels, probabilities = some_predictions(250)
    predicted = probabilities.argmax(axis=1)
    generator = np.random.default_rng(1)
    accuracies, scores = [], []
    for _ in range(1000):
        drawn = generator.integers(0, 250, 250)
        accuracies.append((labels[drawn] == predicted[drawn]).mean())
        scores.append(reference.f1_score(labels[drawn], predicted[drawn], average="macro"))
    fast = bootstrap_intervals(reference.confusion_matrix(labels, predicted), 4000)
    np.testing.assert_allclose(fast["accuracy"], np.percentile(accuracies, [2.5, 97.5]), atol=0.012)
    np.testing.assert_allclose(fast["macro_f1"], np.percentile(scores, [2.5, 97.5]), atol=0.015)


def test_intervals_hold_the_value_and_narrow_with_more_examples():
    widths = []
    for examples in (100, 10_000):
        labels, probabilities = some_predictions(examples)
        found = classification_metrics(labels, probabilities, NAMES, seed=3)
        for name in ("accuracy", "macro_f1"):
            low, high = found["intervals"][name]
            assert low <= found[name] <= high
        widths.append(np.diff(found["intervals"]["accuracy"])[0])
        assert found == classification_metrics(labels, probabilities, NAMES, seed=3)
    assert widths[1] < widths[0] / 5
    assert "intervals" not in classification_metrics(labels, probabilities, NAMES, bootstrap_samples=0)


def test_one_class_only_has_metrics():
    found = classification_metrics(np.zeros(5, int), np.tile([0.9, 0.1, 0.0], (5, 1)), NAMES)
    assert found["accuracy"] == found["macro_f1"] == 1.0
    assert found["intervals"]["macro_f1"] == [1.0, 1.0]


@pytest.mark.parametrize("labels, probabilities, words", [
    (np.zeros(0, int), np.zeros((0, 3)), "at least one"),
    (np.zeros(2, int), np.ones((2, 2)) / 2, "shape"),
    (np.zeros(1, int), np.array([[np.nan, 0.5, 0.5]]), "finite"),
])
def test_impossible_predictions_are_refused(labels, probabilities, words):
    with pytest.raises(ValueError, match=words):
        classification_metrics(labels, probabilities, NAMES)


def test_worst_mistakes_come_surest_first():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.99, 0.01]])
    examples = Examples(["a", "b", "c", "x" * 9999], None, np.array([0, 1, 0, 1]), ("no", "yes"))
    mistakes = worst_mistakes(examples, probabilities, ("no", "yes"))
    assert [mistake["probability"] for mistake in mistakes] == [0.99, 0.8, 0.6]
    assert mistakes[1] == {"text": "b", "pair": None, "label": "yes", "predicted": "no", "probability": 0.8}
    assert len(mistakes[0]["text"]) < 1000


def a_page(names=NAMES, text="<script>alert('x')</script>\x00 一部好电影", **changes):
    labels, probabilities = some_predictions(names=names[:3])
    probabilities = np.pad(probabilities, [(0, 0), (0, len(names) - 3)])
    return html_page({
        "run": "runs/<i>z</i>", "task": "topic", "data": ["test & more.csv"], "skipped": {"broken": 2},
        "notes": ["a <note>"], **classification_metrics(labels, probabilities, names),
        "worst_mistakes": [{"text": text, "pair": None, "label": names[2], "predicted": names[1],
                            "probability": 0.9}], **changes})


def test_the_page_needs_nothing_from_elsewhere_and_escapes_text():
    page = a_page()
    assert "http://" not in page and "https://" not in page
    assert re.findall(r"<(?:script|link|iframe|object)", page) == []
    assert {source[:5] for source in re.findall(r'(?:src|href)="([^"]*)"', page)} == {"data:"}
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;\ufffd 一部好电影" in page
    assert "&lt;b&gt;law &amp; order&lt;/b&gt;" in page and "<b>" not in page
    assert "<i>" not in page and "test &amp; more.csv" in page and "a &lt;note&gt;" in page
    assert "财经" in page and "600 examples" in page


def test_many_classes_list_their_confusions_without_a_matrix():
    page = a_page(names=("a", "b", "c", *map(str, range(100))))
    assert 'class="matrix"' not in page and 'class="matrix"' in a_page()
    assert "<th>true</th>" in page


def test_a_page_without_mistakes_and_intervals():
    labels = np.array([0, 1])
    perfect = classification_metrics(labels, np.eye(3)[labels], NAMES, bootstrap_samples=0)
    assert "<p>None.</p>" in a_page(**perfect, intervals={}, worst_mistakes=[])


@pytest.fixture
def labelled(classifier_run, tmp_path):
    names = json.loads((classifier_run / "config.json").read_text(encoding="utf-8"))["label_names"]

    def write(rows, name="test.csv"):
        with open(tmp_path / name, "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
        return str(tmp_path / name)

    return write, names


def test_evaluate_writes_and_counts(classifier_run, labelled, tmp_path, capsys):
    write, names = labelled
    rows = [(f"text number {number}", names[number % 2]) for number in range(150)]
    result = evaluate(classifier_run, data=(write(rows),), report=tmp_path / "mine.html")
    assert result["n_seen"] == result["n_examples"] == 150 == np.sum(result["confusion_matrix"])
    assert json.loads((tmp_path / "mine.json").read_text(encoding="utf-8")) == result
    assert (tmp_path / "mine.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    shown = capsys.readouterr().out
    assert "macro F1" in shown and "mine.html" in shown
    assert result["worst_mistakes"][0]["probability"] >= result["worst_mistakes"][-1]["probability"]


def test_reports_replace_only_the_same_evaluation(classifier_run, labelled, tmp_path):
    write, names = labelled
    first, second = write([("good", names[0]), ("bad", names[1])]), write([("x", names[0])], "other.csv")
    evaluate(classifier_run, data=first, report=tmp_path / "report")
    evaluate(classifier_run, data=first, report=tmp_path / "report")
    before = (tmp_path / "report.json").read_bytes()
    with pytest.raises(ValueError, match="replaces only"):
        evaluate(classifier_run, data=second, report=tmp_path / "report")
    assert (tmp_path / "report.json").read_bytes() == before
    (tmp_path / "page.html").write_text("mine")
    with pytest.raises(ValueError, match="replaces only"):
        evaluate(classifier_run, data=first, report=tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == "mine"


def test_reports_stand_in_the_run_by_default(classifier_run, labelled):
    write, names = labelled
    source = write([("good", names[0]), ("bad", names[1])])
    for _ in range(2):
        evaluate(classifier_run, data=(source,))
    reports = sorted(classifier_run.glob("evaluation-test-*"))
    assert [report.suffix for report in reports] == [".html", ".json"]
    for report in reports:
        report.unlink()


def test_one_class_only_in_the_data_is_said(classifier_run, labelled, tmp_path):
    write, names = labelled
    result = evaluate(classifier_run, data=(write([("a", names[0]), ("b", names[0])]),), report=tmp_path / "r")
    assert any("only one class" in note for note in result["notes"])


def test_users_errors(classifier_run, labelled, tmp_path):
    write, names = labelled
    with pytest.raises(ValueError, match=r"never seen.*") as failure:
        evaluate(classifier_run, data=(write([("a", names[0]), ("b", "never seen")]),), report=tmp_path / "r")
    assert all(name in str(failure.value) for name in names) and "\n" not in str(failure.value)
    with pytest.raises(ValueError, match="at least one row|no rows"):
        evaluate(classifier_run, data=(write([]),), report=tmp_path / "r")
    with pytest.raises(ValueError, match="at least one source"):
        evaluate(classifier_run, data=(), report=tmp_path / "r")
    with pytest.raises(OSError, match="no such"):
        evaluate(tmp_path / "nothing", data=(write([("a", names[0])]),), report=tmp_path / "r")
    assert not list(tmp_path.glob("r.*"))
