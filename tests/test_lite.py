"""A TensorFlow Lite file answers token ids as the run does, by TensorFlow Lite's own operations, or does not come to be."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from app.__main__ import main
from app.classifier import load_classifier
from app.export import export
from app.lite import lite_probabilities
from data.batching import encode_examples

TEXTS = ["a good film", "这是一个很好的产品", "", " ", "…½ﬁ 😀", "ＡＢＣ,\n\te\u0301", "BAD movie " * 50, "很" * 99]


@pytest.fixture(scope="module")
def classifier(classifier_run):
    return load_classifier(classifier_run)


@pytest.fixture(scope="module")
def written(classifier_run, tmp_path_factory):
    """{int8: (path, operations)}."""
    folder = tmp_path_factory.mktemp("lite")
    paths = {False: folder / "float32.tflite", True: folder / "int8.tflite"}
    return {int8: (path, export(classifier_run, to=path, int8=int8)) for int8, path in paths.items()}


def rows_of(classifier):
    ids = encode_examples(classifier.tokenizer, tf.constant(TEXTS), None, classifier.sequence_length,
                          classifier.segment_length)["token_ids"]
    return tf.pad(ids, [[0, 0], [0, classifier.sequence_length - ids.shape[1]]]).numpy()


@pytest.mark.parametrize(("int8", "tolerance"), [(False, 1e-5), (True, 0.02)])
def test_it_answers_as_the_run(written, classifier, int8, tolerance):
    path, operations = written[int8]
    with warnings.catch_warnings(action="ignore"):
        interpreter = tf.lite.Interpreter(str(path))
    assert sorted(interpreter.get_signature_list()) == ["serving_default", "token_ids"]
    of_text, of_row = map(interpreter.get_signature_runner, ("serving_default", "token_ids"))
    for text, row, expected in zip(TEXTS, rows_of(classifier), classifier.probabilities(TEXTS)):
        for found in (of_text(text=np.array([*map(ord, text)], np.int32)), of_row(token_ids=row[None])):
            np.testing.assert_allclose(found["probabilities"], expected[None], atol=tolerance)
            best = found["probabilities"][0].argmax()
            assert found["label"].tolist() == [classifier.label_names[best].encode()]
            assert found["score"].tolist() == [found["probabilities"][0, best]]
    assert {"GATHER", "FULLY_CONNECTED"} <= set(operations) and not [name for name in operations if "Flex" in name]


def test_int8_is_smaller(written):
    sizes = [written[int8][0].stat().st_size for int8 in (False, True)]
    assert sizes[1] < sizes[0] - 10_000  # of the 300 × 16 numbers of the embedding alone 14,400 bytes


def test_shorter_rows_are_padded(written, classifier):
    found = lite_probabilities(written[False][0])(rows_of(classifier)[:3, :20])
    np.testing.assert_allclose(found, classifier.probabilities(TEXTS[:3]), atol=1e-5)


def test_one_that_differs_does_not_get_its_name(classifier_run, tmp_path, monkeypatch):
    def other(probabilities, texts, original=type(load_classifier(classifier_run)).probabilities):
        return original(probabilities, texts) + 2e-5

    monkeypatch.setattr("app.classifier.Classifier.probabilities", other)
    with pytest.raises(RuntimeError, match="must give the run's answers, numbers to 1e-05. Received: serving_default's prob"):
        export(classifier_run, to=tmp_path / "x.tflite")
    assert list(tmp_path.iterdir()) == []


def test_only_classifiers_fit(gpt_run, written, classifier_run, tmp_path, capsys):
    for arguments, rule in (([gpt_run, "--to", tmp_path / "x.tflite"], "a .tflite file is made of a classifier"),
                            ([classifier_run, "--to", written[True][0]], "exists: choose another name")):
        assert main(["export", *map(str, arguments)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and rule in error, error
    assert list(tmp_path.iterdir()) == []


def test_the_terminal_shows_no_notes_of_the_converter(classifier_run, labelled_csv, tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "app", "export", str(classifier_run), "--to", str(tmp_path / "x.tflite"), "--int8",
         "--data", str(labelled_csv)], capture_output=True, text=True, encoding="utf-8", cwd=Path(__file__).parents[1])
    assert process.returncode == 0 and process.stderr == ""
    assert "operations, TensorFlow Lite's own" in process.stdout and "the export" in process.stdout
