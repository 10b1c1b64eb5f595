"""Weights as int8: rounded as by the definition, a quarter of the bytes, and the answers of the run rounded by hand."""

import asyncio
import csv
import gc
import json

import numpy as np
import pytest
import tensorflow as tf

from app.__main__ import main
from app.classifier import load_classifier
from app.evaluate import evaluate
from app.export import export
from app.int8 import int8_variables, to_int8
from app.loaded_version import LoadedVersion
from app.service_settings import Batching

TEXTS = ["a good film", "这是一个很好的产品", "", "BAD movie " * 50]


def rounded_by_hand(values):
    """Each row to the nearest multiple of a 127th of its largest magnitude, number by number in float64."""
    rows = values.reshape(-1, values.shape[-1]).astype(np.float64)
    found = np.zeros_like(rows)
    for number, row in enumerate(rows):
        step = max(map(abs, row)) / 127
        if step:
            found[number] = [round(value / step) * step for value in row]
    return found.reshape(values.shape)


@pytest.mark.parametrize("shape", [(40, 16), (3, 5, 20)])
def test_rounding_is_that_of_the_definition(shape):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    values[1] *= 1000
    values[2] = 0
    whole, steps = to_int8(values)
    assert whole.dtype == np.int8 and whole.shape == shape and steps.dtype == np.float32
    assert steps.shape == (*shape[:-1], 1) and (np.abs(whole).max(axis=-1)[:2] == 127).all()
    products = whole * steps
    np.testing.assert_allclose(products, rounded_by_hand(values), rtol=1e-6)
    assert (np.abs(products - values) <= steps / 2 * (1 + 1e-5)).all() and (products[2] == 0).all()


def test_matrices_with_long_rows_are_rounded_and_nothing_else():
    random = np.random.default_rng(0)
    before = [random.normal(size=shape).astype(np.float32) for shape in ((30, 16), (16,), (500, 15), (2, 3, 64))]
    run = [tf.Variable(values) for values in before]
    tracked = int8_variables(run)
    assert tracked[3:5] == run[1:3] and len(tracked) == 8
    for variable, values in ((run[0], before[0]), (run[3], before[3])):
        np.testing.assert_allclose(variable.numpy(), rounded_by_hand(values), rtol=1e-6)
    for variable, values in ((run[1], before[1]), (run[2], before[2])):
        np.testing.assert_array_equal(variable.numpy(), values)


@pytest.fixture(scope="module")
def rounded(classifier_run):
    """The classifier with its weights rounded by hand."""
    classifier = load_classifier(classifier_run)
    weights = classifier.model.get_weights()
    assert any(values.ndim > 1 and values.shape[-1] < 16 for values in weights)  # the classes'
    classifier.model.set_weights([rounded_by_hand(values) if values.ndim > 1 and values.shape[-1] >= 16 else values
                                  for values in weights])
    return classifier


def test_an_export_answers_as_the_rounded_run(exported_int8, rounded, classifier_run):
    folder, operations = exported_int8
    # In one expression, so that what was loaded is gone before the signature is called.
    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
    gc.collect()
    answer = signature(text=tf.constant(TEXTS))
    expected = rounded.probabilities(TEXTS)
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)
    assert np.abs(expected - load_classifier(classifier_run).probabilities(TEXTS)).max() > 1e-5  # int8 it is
    assert not [name for name in operations if name.startswith("Xla")]
    about = json.loads((folder / "assets.extra" / "fromzero.json").read_text(encoding="utf-8"))
    assert about["int8"] and about["parameters"] == rounded.model.count_params()


def save(folder, variable, weights):
    """A SavedModel that gives the variable's rows."""
    module = tf.Module()
    module.rows = tf.function(lambda: {"rows": variable + 0.0}, [])
    module.weights = weights
    tf.saved_model.save(module, str(folder), signatures=module.rows.get_concrete_function())
    return (folder / "variables" / "variables.data-00000-of-00001").stat().st_size


def test_weights_take_a_quarter_of_the_bytes(tmp_path):
    variable = tf.Variable(tf.random.normal([2000, 128]))
    whole = save(tmp_path / "float32", variable, [variable])
    assert 0.25 < save(tmp_path / "int8", variable, int8_variables([variable])) / whole < 0.27


def test_two_exports_in_one_process_do_not_mix(tmp_path):
    run = [tf.Variable(tf.random.normal([20, 16])) for _ in range(2)]
    for number, variable in enumerate(run):
        save(tmp_path / str(number), variable, int8_variables([variable]))
    loaded = [tf.saved_model.load(str(tmp_path / str(number))) for number in (0, 1)]
    for one, variable in zip(loaded, run):
        np.testing.assert_array_equal(one.signatures["serving_default"]()["rows"], variable)


def test_serving_frees_what_loading_has_made(exported_int8):
    version = LoadedVersion(1, exported_int8[0], Batching(), lambda *_: None)
    handles = [weight.resource_handle for weight in version._loaded.weights
               if isinstance(weight, tf.saved_model.experimental.TrackableResource)]
    assert handles and all(tf.raw_ops.VarIsInitializedOp(resource=handle) for handle in handles)
    asyncio.run(version.unload())
    assert not any(tf.raw_ops.VarIsInitializedOp(resource=handle) for handle in handles)


@pytest.mark.parametrize("shape", [[], [2, 2]])
def test_what_somebody_else_calls_weights_is_left_alone(tmp_path, shape):
    variable = tf.Variable(tf.ones(shape))
    save(tmp_path / "1", variable, variable)
    asyncio.run(LoadedVersion(1, tmp_path / "1", Batching(), lambda *_: None).unload())


def test_before_and_after_on_labelled_data(classifier_run, rounded, labelled_csv, tmp_path, capsys):
    export(classifier_run, to=tmp_path / "1", int8=True, data=str(labelled_csv))
    shown = capsys.readouterr().out
    with open(labelled_csv, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    texts = [row["text"] for row in rows]
    before = evaluate(classifier_run, data=(str(labelled_csv),), report=tmp_path / "before", bootstrap_samples=0)
    probabilities = rounded.probabilities(texts)
    different = (probabilities.argmax(axis=1) != load_classifier(classifier_run).probabilities(texts).argmax(axis=1)).sum()
    assert f"120 texts, {different} of them with another label" in " ".join(shown.split())
    line = next(line for line in shown.splitlines() if line.startswith("│ negative log likelihood"))
    assert float(line.split("│")[2]) == pytest.approx(before["negative_log_likelihood"], abs=1e-4)
    loss = -np.log(probabilities[np.arange(120), [int(row["label"] == "pos") for row in rows]]).mean()
    assert float(line.split("│")[3]) == pytest.approx(loss, abs=1e-4)


def test_mistakes_are_one_line(classifier_run, tmp_path, capsys):
    for arguments, rule in ((["--label-column", "label"], "are of --data"),
                            (["--int8", "--data", str(tmp_path / "nowhere.csv")], "nowhere.csv")):
        assert main(["export", str(classifier_run), "--to", str(tmp_path / "1"), *arguments]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and rule in error, error
    assert list(tmp_path.iterdir()) == []
