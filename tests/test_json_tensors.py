"""The JSON of TensorFlow Serving's predict call: rows and columns, bytes and numbers, and every mistake a BadInput."""

import json

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from app.json_answers import write_answer
from app.json_tensors import Asked, BadInput, read_request
from app.loaded_version import Signature
from app.service_settings import Limits

LIMITS = Limits(max_texts=4, max_text_length=10)


def signature(name, **inputs):
    return Signature(name, {key: tf.TensorSpec(shape, dtype) for key, (shape, dtype) in inputs.items()},
                     {"out": tf.TensorSpec([None], tf.float32)}, None)


SIGNATURES = {found.name: found for found in (
    signature("serving_default", text=([None], tf.string)), signature("pair", text=([None], tf.string),
                                                                      number=([None, 2], tf.float32)),
    signature("history", history=([None, None], tf.string)), signature("ids", ids=([None, None], tf.int32)),
    signature("any", x=(None, tf.float32)), signature("scalar", x=([], tf.bool)),
    signature("complex", x=([None], tf.complex64)), signature("bytes", x=([None], tf.uint8)))}


def read(body, name=None, limits=LIMITS):
    if isinstance(body, dict):
        body = json.dumps(body if name is None else {**body, "signature_name": name})
    return read_request(body if isinstance(body, bytes) else body.encode(), SIGNATURES, limits)


def values(asked):
    return {name: array.tolist() for name, array in asked.inputs.items()}


@pytest.mark.parametrize(("body", "name", "expected", "texts"), [
    ({"instances": ["a", "很"]}, None, {"text": [b"a", "很".encode()]}, 2),
    ({"instances": [{"text": "a"}, {"text": {"b64": "/w=="}}]}, None, {"text": [b"a", b"\xff"]}, 2),
    ({"instances": [{"b64": "/w"}]}, None, {"text": [b"\xff"]}, 1),  # as Model Server, without padding too
    ({"inputs": ["a", "\0"]}, "", {"text": [b"a", b"\0"]}, 2),
    ({"inputs": {"text": ["a"], "another": 3}}, "serving_default", {"text": [b"a"]}, 1),
    ({"inputs": []}, None, {"text": []}, 0),
    ({"instances": [{"text": "a", "number": [1, 2.5]}]}, "pair", {"text": [b"a"], "number": [[1.0, 2.5]]}, 1),
    ({"inputs": {"text": ["a"], "number": [[3e38, -0.5]]}}, "pair",
     {"text": [b"a"], "number": [[float(np.float32(3e38)), -0.5]]}, 1),
    ({"instances": [["a", ""], ["b", "c"]]}, "history", {"history": [[b"a", b""], [b"b", b"c"]]}, 4),
    ({"instances": [[1, 2], [3, 4]]}, "ids", {"ids": [[1, 2], [3, 4]]}, 2),
    ({"inputs": [[[1]]]}, "any", {"x": [[[1.0]]]}, 1), ({"inputs": 2}, "any", {"x": 2.0}, 1),
    ({"inputs": True}, "scalar", {"x": True}, 1),
])
def test_what_is_asked(body, name, expected, texts):
    asked = read(body, name)
    assert values(asked) == expected and asked.texts == texts
    assert asked.in_rows == ("instances" in body) and asked.signature is SIGNATURES[name or "serving_default"]
    for key, array in asked.inputs.items():
        assert array.dtype == asked.signature.inputs[key].dtype.as_numpy_dtype


def test_numbers_that_json_has_not():
    x = read('{"signature_name": "any", "inputs": [NaN, Infinity, -Infinity, 1e999]}').inputs["x"]
    np.testing.assert_array_equal(x, [np.nan, np.inf, -np.inf, np.inf])


@pytest.mark.parametrize(("body", "name", "rule"), [
    (b"", None, "JSON Parse error"), (b"\xff\xfe", None, "must be UTF-8"), (b"[" * 100_000, None, "nested too deeply"),
    (b'{"instances": ["a"]', None, "JSON Parse error"), (b"[]", None, "must be a JSON object"),
    (b"null", None, "must be a JSON object"),
    (b'{"instances": [' + b"9" * 5000 + b"]}", None, "JSON Parse error"),
    ({}, None, "Missing 'inputs' or 'instances' key"), ({"instances": ["a"], "inputs": ["a"]}, None, "only one of"),
    ({"instances": "a"}, None, "Expecting 'instances' to be a list"),
    ({"instances": []}, None, "No values in 'instances'"),
    ({"instances": ["a"]}, "none", '"none" not found in signature def. There are: serving_default, pair'),
    ({"instances": ["a"], "signature_name": 3}, None, "must be a string value"),
    ({"instances": ["a"]}, "pair", "expecting list of objects"), ({"inputs": ["a"]}, "pair", "expecting an object"),
    ({"instances": [{"text": "a"}]}, "pair", "element: 0 of 'instances'.*keys are: number, text|text, number"),
    ({"instances": [{"text": "a"}, "b"]}, None, "element: 1 of 'instances'"),
    ({"inputs": {"txt": ["a"]}}, None, "Missing named input: text"),
    ({"inputs": {"text": ["a", "b"], "number": [[1, 2]]}}, "pair", "equally many rows.*text with 2.*number with 1"),
    ({"instances": [1]}, None, "type int is not of expected type: string"), ({"instances": [None]}, None, "NoneType"),
    ({"instances": ["a", ["b"]]}, None, "type list"), ({"instances": [["a"]]}, None, "nested 1 deep"),
    ({"inputs": "a"}, None, r"shape \(None,\). Received: \(\)"), ({"instances": [[1, 2], [3]]}, "ids", "equally long"),
    ({"instances": [[1, 2], 3]}, "ids", "equally long"), ({"instances": [1]}, "ids", "shape"),
    ({"instances": [{"text": "a", "number": [1, 2, 3]}]}, "pair", r"shape \(None, 2\)"),
    ({"instances": [[2**31]]}, "ids", "expected type: int32"), ({"instances": [[1.0]]}, "ids", "int32"),
    ({"instances": [[True]]}, "ids", "int32"), ({"inputs": [256]}, "bytes", "uint8"),
    ({"inputs": [-1]}, "bytes", "uint8"), ({"inputs": [10**400]}, "any", "float32"),
    ({"inputs": [1e39]}, "any", "float32"), ({"inputs": "a"}, "any", "float32"),
    ({"inputs": 1}, "scalar", "expected type: bool"), ({"inputs": [1]}, "complex", "complex64"),
    (b'{"signature_name": "any", "inputs": ' + b"[" * 60 + b"]" * 60 + b"}", None, "nested 8 deep"),
    ({"instances": [{"b64": "!"}]}, None, "base64"), ({"instances": [{"b64": "é"}]}, None, "base64"),
    (b'{"instances": ["\\ud800"]}', None, "surrogate"), (b'{"instances": [{"b64": "\\ud800"}]}', None, "base64"),
    ({"instances": ["a"] * 5}, None, "at most 4 texts in one request"),
    ({"instances": [["a", "b", "c"]] * 2}, "history", "at most 4 texts"),
    ({"instances": [[1]] * 5}, "ids", "at most 4"),
    ({"instances": ["x" * 11]}, None, "at most 10 characters .--max-text-length.. Received: 11"),
])
def test_what_cannot_be_asked(body, name, rule):
    with pytest.raises(BadInput, match=rule) as refused:
        read(body, name)
    assert len(str(refused.value)) < 400


ANY_JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(
                            ["text", "x", "b64", "number", "ids"]), inner, max_size=4), max_leaves=12)
BODIES = st.binary(max_size=200) | ANY_JSON.map(lambda value: json.dumps(value).encode()) | st.fixed_dictionaries(
    {}, optional={"signature_name": st.sampled_from([*SIGNATURES]) | ANY_JSON, "inputs": ANY_JSON,
                  "instances": ANY_JSON | st.lists(st.text())}).map(lambda value: json.dumps(value).encode())


@settings(max_examples=300, deadline=None)
@given(BODIES)
def test_any_body_is_understood_or_refused(body):
    try:
        asked = read(body)
    except BadInput:
        return
    assert isinstance(asked, Asked)
    for name, array in asked.inputs.items():
        tensor = tf.constant(array, asked.signature.inputs[name].dtype)  # what the model is given
        assert asked.signature.inputs[name].is_compatible_with(tensor)


def test_answers_in_rows_and_columns():
    label, score = np.array([b"pos", "坏".encode()], object), np.array([0.9, 0.25], np.float32)
    one, several = {"score": score}, {"label": label, "score": score}
    assert write_answer(one, True) == b'{"predictions": [0.9, 0.25]}'  # not 0.8999999761581421
    assert write_answer(one, False) == b'{"outputs": [0.9, 0.25]}'
    assert write_answer(several, True).decode() == (
        '{"predictions": [{"label": "pos", "score": 0.9}, {"label": "坏", "score": 0.25}]}')
    assert json.loads(write_answer(several, False)) == {"outputs": {"label": ["pos", "坏"], "score": [0.9, 0.25]}}


def test_answers_of_other_types():
    def outputs(name, array):
        return json.loads(write_answer({name: np.array(array)}, False))["outputs"]

    assert outputs("raw_bytes", np.array([b"\xff"], object)) == [{"b64": "/w=="}]
    assert outputs("raw", np.array([b"a\xff"], object)) == ["a\ufffd"]
    assert outputs("x", np.array(b"a", object)) == "a" and outputs("x", True) is True and outputs("x", [[7]]) == [[7]]
    assert outputs("x", np.array([1.5], tf.bfloat16.as_numpy_dtype)) == [1.5] and outputs("x", np.float16(0.1)) == 0.1
    assert outputs("x", np.float64(1 / 3)) == 1 / 3
    np.testing.assert_array_equal(outputs("x", np.array([np.nan, -np.inf], np.float32)), [np.nan, -np.inf])
    with pytest.raises(BadInput, match="complex64"):
        outputs("x", np.complex64(1))
    for unequal in ({"x": np.float32(1)}, {"x": np.zeros(2), "y": np.zeros(3)}):
        with pytest.raises(BadInput, match="no equal rows"):
            write_answer(unequal, True)
