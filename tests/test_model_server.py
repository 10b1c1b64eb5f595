"""What TensorFlow's Model Server reads beside an export, read here by parsers of the tests' own."""

import struct
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import saved_model_pb2

from app.export import export
from app.model_server import read_warmup, with_model, write_warmup
from app.saved_model import listing


def fields(message):
    """[(number, bytes)] of a protobuf message that has fields of bytes alone, by the rules of the wire format."""
    found, place = [], 0

    def varint():
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while place < len(message):
        tag = varint()
        assert tag & 7 == 2  # length-delimited
        length = varint()
        found.append((tag >> 3, message[place : place + length]))
        place += length
    return found


def records(path):
    """The records of a TFRecord file, read by its layout: length, checksum, bytes, checksum."""
    data, found = path.read_bytes(), []
    while data:
        length, = struct.unpack("<Q", data[:8])
        found.append(data[12 : 12 + length])
        data = data[16 + length :]
    return found


def warmup(path):
    """[(model, signature, {input: tensor})]: PredictionLog.predict_log = 6, PredictLog.request = 1,
    PredictRequest.model_spec = 1 and inputs = 2, ModelSpec.name = 1 and signature_name = 3."""
    found = []
    for record in records(path):
        (number, log), = fields(record)
        assert number == 6
        (number, request), = fields(log)
        assert number == 1
        specs = [dict(fields(value)) for number, value in fields(request) if number == 1]
        assert len(specs) == 1 and set(specs[0]) == {1, 3}
        entries = [dict(fields(value)) for number, value in fields(request) if number == 2]
        assert {number for number, _ in fields(request)} == {1, 2}
        found.append((specs[0][1].decode(), specs[0][3].decode(), {
            entry[1].decode(): tf.make_ndarray(tensor_pb2.TensorProto.FromString(entry[2])) for entry in entries}))
    return found


def test_warmup_requests_as_the_public_protos_have_them(tmp_path):
    inputs = {"serving_default": {"text": (["a", "很好"], "string")}, "token_ids": {"token_ids": ([[2, 5, 3]], "int32")}}
    write_warmup(tmp_path / "warmup", "sentiment", inputs)
    (model, signature, first), (_, other, second) = warmup(tmp_path / "warmup")
    assert (model, signature, other) == ("sentiment", "serving_default", "token_ids")
    assert first["text"].tolist() == [b"a", "很好".encode()]
    assert second["token_ids"].tolist() == [[2, 5, 3]] and second["token_ids"].dtype == np.int32
    again = list(read_warmup(tmp_path / "warmup"))
    assert [name for name, _ in again] == ["serving_default", "token_ids"]
    assert again[0][1]["text"].tolist() == first["text"].tolist()


def test_an_export_has_warmup_requests_that_its_signatures_take(exported):
    folder, _ = exported
    requests = warmup(folder / "assets.extra" / "tf_serving_warmup_requests")
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    definitions = saved.meta_graphs[0].signature_def
    loaded = tf.saved_model.load(str(folder))
    assert {signature for _, signature, _ in requests} == set(loaded.signatures)
    for model, signature, inputs in requests:
        assert model == "sentiment" and set(inputs) == set(definitions[signature].inputs)
        assert definitions[signature].method_name == "tensorflow/serving/predict"
        for name, array in inputs.items():
            info = definitions[signature].inputs[name]
            assert tf.as_dtype(info.dtype).as_numpy_dtype == array.dtype
            assert tf.TensorShape(info.tensor_shape).is_compatible_with(array.shape)
        answer = loaded.signatures[signature](**{name: tf.constant(array) for name, array in inputs.items()})
        assert all(len(tensor) == len(array) for tensor in answer.values())


def test_an_export_is_listed_beside_what_was_there(exported):
    text = (exported[0].parents[1] / "models.config").read_text(encoding="utf-8")
    assert text == """model_config_list {
  config {
    name: "sentiment"
    base_path: "/models/sentiment"
    model_platform: "tensorflow"
  }
  config { name: "mine" base_path: "/m" }
}
"""


MINE = '''# what I serve
model_config_list: {
  config { name: "mine" base_path: "/m" model_version_policy { specific { versions: 42 } }  # not the newest
           version_labels { key: "stable" value: 42 } model_type: TENSORFLOW }
}
'''


def test_what_is_listed_stays():
    text = with_model(MINE, 'the "best"')
    assert [line for line in text.splitlines() if line in MINE.splitlines()] == MINE.splitlines()
    assert r'name: "the \"best\""' in text
    assert with_model(text, "mine") == with_model(text, 'the "best"') == text
    assert listing(Path("a", "1"))[0] == Path.cwd() / "models.config"
    path, listed = listing(Path("..", "1"))
    assert path == Path.cwd().parents[1] / "models.config" and f'base_path: "/models/{Path.cwd().parent.name}"' in listed
    assert listing(Path("a", "latest")) is listing(Path("a", "١")) is None  # which Model Server takes for no version
    comments = "# model_config_list {"
    assert with_model(comments, "a") == comments + "\n" + with_model("", "a")


def test_a_list_in_another_encoding_is_left_alone(classifier_run, tmp_path):
    (tmp_path / "models.config").write_bytes("# 我的".encode("gb18030"))
    with pytest.raises(ValueError, match="mend it or choose another --to"):
        export(classifier_run, to=tmp_path / "a" / "1")


@pytest.mark.parametrize("text", ["model_config_list {", "hello", "custom_model_config { }"])
def test_what_is_no_list_is_left_alone(text, classifier_run, tmp_path):
    with pytest.raises(ValueError, match="models.config must be"):
        with_model(text, "a")
    (tmp_path / "models.config").write_text(text)
    with pytest.raises(ValueError, match=f"{tmp_path}/models.config: .*mend it or choose another --to"):
        export(classifier_run, to=tmp_path / "a" / "1")
    assert [path.name for path in tmp_path.iterdir()] == ["models.config"]
    assert (tmp_path / "models.config").read_text() == text
