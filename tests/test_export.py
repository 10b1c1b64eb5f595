"""An export answers as the run does: loaded in this process, in TensorFlow alone and through the C API."""

import ctypes
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.protobuf import saved_model_pb2

from app.classifier import load_classifier
from app.export import export
from app.servables import servable_classifier
from app.verification import PYTHON_OPERATIONS, _reply, list_operations, verify
from data.batching import cleaned, encode_examples
from data.sources import clean_text

TEXTS = ["a good film", "这是一个很好的产品", "", "  BAD,  bad… movie!", "\x00 😀", "very " * 500]


@pytest.fixture(scope="module")
def classifier(classifier_run):
    return load_classifier(classifier_run)


@pytest.fixture(scope="module")
def servable(classifier):
    return servable_classifier(classifier)


@pytest.fixture(scope="module")
def signatures(exported):
    return tf.saved_model.load(str(exported[0])).signatures


def test_text_in_answers_out(signatures, classifier):
    answer = signatures["serving_default"](text=tf.constant(TEXTS))
    expected = classifier.probabilities(TEXTS)
    assert set(answer) == {"probabilities", "label", "score"}
    assert answer["probabilities"].dtype == answer["score"].dtype == tf.float32
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)
    np.testing.assert_allclose(answer["score"], expected.max(axis=1), atol=1e-5)
    labels = [label.decode() for label in answer["label"].numpy()]
    assert labels == [classifier.label_names[n] for n in expected.argmax(axis=1)]


def test_token_ids_in_answers_out(signatures, classifier):
    ids = encode_examples(classifier.tokenizer, tf.constant(TEXTS), None, classifier.sequence_length,
                          classifier.segment_length)["token_ids"]
    padded = tf.pad(ids, [[0, 0], [0, classifier.sequence_length - ids.shape[1]]])
    expected = classifier.probabilities(TEXTS)
    for some in (ids, padded, ids[:1]):
        answer = signatures["token_ids"](token_ids=some)["probabilities"]
        np.testing.assert_allclose(answer, expected[: len(some)], atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most"):
        signatures["token_ids"](token_ids=tf.ones([1, classifier.sequence_length + 1], tf.int32))


def test_any_batch_size(signatures, classifier):
    together = signatures["serving_default"](text=tf.constant(TEXTS))["probabilities"]
    for number, text in enumerate(TEXTS):
        alone = signatures["serving_default"](text=tf.constant([text]))["probabilities"]
        np.testing.assert_allclose(alone[0], together[number], atol=1e-5)
    none = signatures["serving_default"](text=tf.constant([], tf.string))
    assert none["probabilities"].shape == (0, len(classifier.label_names))
    assert none["label"].shape == none["score"].shape == (0,)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.text(), st.text("a \r\n<bBrR/>\t\x00\x0b\x1f\x7f\x85\x9f\xa0\u200b\ufeff")), max_size=20))
def test_the_graph_cleans_texts_as_the_sources_do(texts):
    found = [text.decode() for text in cleaned(tf.constant(texts, tf.string)).numpy()]
    assert [text.strip() for text in found] == [clean_text(text) for text in texts]


def test_bytes_that_are_not_text_do_no_harm(signatures):
    answer = signatures["serving_default"](text=tf.constant([b"\xff\xfe caf\xe9", b"\x80" * 100]))
    assert np.isfinite(answer["probabilities"]).all()


def test_signatures_and_operations(exported, classifier):
    folder, operations = exported
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    signature = saved.meta_graphs[0].signature_def["serving_default"]
    assert list(signature.inputs) == ["text"]
    assert [dim.size for dim in signature.inputs["text"].tensor_shape.dim] == [-1]
    classes = len(classifier.label_names)
    assert [dim.size for dim in signature.outputs["probabilities"].tensor_shape.dim] == [-1, classes]
    assert operations == list_operations(folder) and "UnicodeDecode" in operations
    assert not set(operations) & set(PYTHON_OPERATIONS)
    # Keras would have written its layers' configurations into the object graph.
    assert b"_tf_keras" not in (folder / "saved_model.pb").read_bytes()


def test_labels_for_people(exported, classifier):
    extra = exported[0] / "assets.extra"
    assert tuple((extra / "labels.txt").read_text(encoding="utf-8").splitlines()) == classifier.label_names
    assert json.loads((extra / "fromzero.json").read_text(encoding="utf-8"))["task"] == classifier.task


def test_pairs(classifier_run, classifier, tmp_path, monkeypatch):
    takes_pairs = dataclasses.replace(classifier, takes_pairs=True)
    monkeypatch.setattr("app.classifier.load_classifier", lambda run: takes_pairs)
    export(classifier_run, to=tmp_path / "pairs")
    answer = tf.saved_model.load(str(tmp_path / "pairs")).signatures["serving_default"]
    given = answer(text=tf.constant(TEXTS), pair=tf.constant(TEXTS[::-1]))["probabilities"]
    np.testing.assert_allclose(given, takes_pairs.probabilities(TEXTS, TEXTS[::-1]), atol=1e-5)


def test_an_existing_target_is_left_alone(classifier_run, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="exists"):
        export(classifier_run, to=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failed_verification_leaves_nothing(classifier_run, tmp_path, monkeypatch):
    def differ(*arguments):
        raise RuntimeError("probabilities differ")

    monkeypatch.setattr("app.saved_model.verify", differ)
    with pytest.raises(RuntimeError, match="differ"):
        export(classifier_run, to=tmp_path / "1")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_the_users_error(classifier_run, tmp_path, monkeypatch):
    def full(module, folder, signatures):
        Path(folder).mkdir()
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr("tensorflow.saved_model.save", full)
    with pytest.raises(OSError, match="No space left"):
        export(classifier_run, to=tmp_path / "1")
    assert list(tmp_path.iterdir()) == []


def test_python_operations_are_refused(tmp_path):
    module = tf.Module()
    module.call = tf.function(lambda x: tf.numpy_function(np.sin, [x], tf.float32),
                              input_signature=[tf.TensorSpec([None], tf.float32)])
    tf.saved_model.save(module, str(tmp_path / "python"))
    with pytest.raises(RuntimeError, match="PyFunc"):
        list_operations(tmp_path / "python")


def test_verification_notices(exported, servable, monkeypatch):
    folder, operations = exported
    with pytest.raises(RuntimeError, match="NoSuchOperation"):
        verify(folder, [*operations, "NoSuchOperation"], servable)
    replies = []
    monkeypatch.setattr("app.verification._reply", lambda *request, ask=_reply: replies.append(ask(*request)) or replies[-1])
    verify(folder, operations, servable)
    monkeypatch.setattr("app.verification._reply", lambda *request: replies[0])
    probabilities = servable.expected["token_ids"]["probabilities"]
    labels = np.array([b"another"] * len(probabilities), object)
    for other in ({"probabilities": probabilities + 2e-5}, {"probabilities": probabilities * np.nan}, {"label": labels}):
        differing = dataclasses.replace(servable, expected={**servable.expected, "token_ids": other})
        with pytest.raises(RuntimeError, match=f"must give the run's answers.*token_ids's {next(iter(other))}"):
            verify(folder, operations, differing)


def test_an_operation_of_xla_is_refused(tmp_path):
    module = tf.Module()
    module.call = tf.function(lambda x: keras.ops.slice_update(x, (0,), x[:1]),
                              input_signature=[tf.TensorSpec([3], tf.float32)])
    tf.saved_model.save(module, str(tmp_path / "xla"))
    with pytest.raises(RuntimeError, match="XLA.*XlaDynamicUpdateSlice"):
        list_operations(tmp_path / "xla")


def c_library():
    """The installed library with TensorFlow's C API, or None."""
    for name in ("libtensorflow_cc.so.2", "libtensorflow_cc.2.dylib", "tensorflow_cc.dll"):
        path = Path(tf.sysconfig.get_lib()) / name
        if path.exists() and hasattr(ctypes.CDLL(str(path)), "TF_LoadSessionFromSavedModel"):
            return path
    return None


@pytest.mark.parametrize("name", ["exported", "exported_int8"])
def test_without_python_through_the_c_api(name, request):
    library = c_library()
    if library is None:
        pytest.skip("this TensorFlow's libraries do not export TF_LoadSessionFromSavedModel")
    folder = request.getfixturevalue(name)[0]
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    signature = saved.meta_graphs[0].signature_def["serving_default"]
    request = {"library": str(library), "folder": str(folder),
               "inputs": {signature.inputs["text"].name: TEXTS},
               "outputs": [signature.outputs[name].name for name in ("probabilities", "label", "score")]}
    process = subprocess.run([sys.executable, "-I", str(Path(__file__).with_name("c_api_client.py"))],
                             input=json.dumps(request), capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-3000:]
    probabilities, labels, scores = json.loads(process.stdout.splitlines()[-1])
    expected = tf.saved_model.load(str(folder)).signatures["serving_default"](text=tf.constant(TEXTS))
    np.testing.assert_allclose(probabilities, expected["probabilities"], atol=1e-5)
    np.testing.assert_allclose(scores, expected["score"], atol=1e-5)
    assert labels == [label.decode() for label in expected["label"].numpy()]
