"""The JSON of TensorFlow Serving's predict call in, arrays out.

The rules are those of https://www.tensorflow.org/tfx/serving/api_rest: "instances" are rows, "inputs" are columns,
{"b64": …} are bytes, and the numbers NaN, Infinity and -Infinity are allowed.
"""

import base64
import binascii
import dataclasses
import json

import numpy as np
import tensorflow as tf

DEEPEST = 8  # axes of an input whose signature leaves their number open


class BadInput(ValueError):
    """A request that cannot be answered, and why; no text of it is quoted."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a body asks: `signature`, `inputs` {name: np.ndarray}, whether in rows, and how many texts or rows it has."""

    signature: object
    inputs: dict
    in_rows: bool
    texts: int


def read_request(body, signatures, limits):
    """Reads the body of a predict call.

    Args:
        body: bytes.
        signatures: {name: `app.loaded_version.Signature`}.
        limits: `app.service_settings.Limits`.

    Returns:
        `Asked`.

    Raises:
        BadInput: anything is wrong with it.
    """
    asked = _parsed(body)
    if not isinstance(asked, dict):
        raise BadInput("the body must be a JSON object with 'instances' or 'inputs'")
    name = asked.get("signature_name", "")
    if not isinstance(name, str):
        raise BadInput("'signature_name' key must be a string value.")
    name = name or "serving_default"
    if name not in signatures:
        raise BadInput(f'Serving signature name: "{name[:100]}" not found in signature def. '
                       f"There are: {', '.join(signatures)}")
    signature = signatures[name]
    if "instances" in asked and "inputs" in asked:
        raise BadInput("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist")
    if "instances" in asked:
        columns = _columns_of_rows(asked["instances"], signature.inputs)
    elif "inputs" in asked:
        columns = _columns(asked["inputs"], signature.inputs)
    else:
        raise BadInput("Missing 'inputs' or 'instances' key")
    inputs = {name: _array(columns[name], name, spec, limits) for name, spec in signature.inputs.items()}
    if signature.batches and len({len(array) for array in inputs.values()}) > 1:
        raise BadInput("the inputs must have equally many rows. Received: "
                       + ", ".join(f"{name} with {len(array)}" for name, array in inputs.items()))
    return Asked(signature, inputs, "instances" in asked, max(map(_texts, inputs.values()), default=0))


def _parsed(body):
    try:
        return json.loads(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadInput(f"JSON Parse error: the body must be UTF-8, byte {error.start} is not") from error
    except RecursionError as error:
        raise BadInput("JSON Parse error: it is nested too deeply") from error
    except ValueError as error:  # JSONDecodeError, and whole numbers of thousands of digits
        raise BadInput(f"JSON Parse error: {error}") from error


def _is_base64(value):
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def _columns_of_rows(instances, specs):
    if not isinstance(instances, list):
        raise BadInput("Expecting 'instances' to be a list/array")
    if not instances:
        raise BadInput("No values in 'instances' array")
    if not isinstance(instances[0], dict) or _is_base64(instances[0]):
        if len(specs) > 1:
            raise BadInput("instances is a plain list, but expecting list of objects as multiple input tensors "
                           f"required: {', '.join(specs)}")
        return dict.fromkeys(specs, instances)
    for number, row in enumerate(instances):
        if not isinstance(row, dict) or set(row) != set(specs):
            raise BadInput(f"Failed to process element: {number} of 'instances' list. It must be an object whose keys "
                           f"are: {', '.join(specs)}")
    return {name: [row[name] for row in instances] for name in specs}


def _columns(inputs, specs):
    if isinstance(inputs, dict) and not _is_base64(inputs):
        for name in specs:
            if name not in inputs:
                raise BadInput(f"Missing named input: {name} in 'inputs' object.")
        return inputs
    if len(specs) > 1:
        raise BadInput("inputs is a plain value/list, but expecting an object as multiple input tensors required: "
                       f"{', '.join(specs)}")
    return dict.fromkeys(specs, inputs)


def _texts(array):
    """How many strings an array has; of numbers how many rows."""
    return array.size if array.dtype == object else len(array) if array.ndim else 1


def _array(value, name, spec, limits):
    """A JSON value as an array of the dtype and shape that `spec`, a tf.TensorSpec, has."""
    shape, level = [], [value]
    deepest = DEEPEST if spec.shape.rank is None else spec.shape.rank
    while level and isinstance(level[0], list):
        if len(shape) == deepest:
            raise BadInput(f"{name}: lists may be nested {deepest} deep")
        shape.append(len(level[0]))
        if not all(isinstance(inner, list) and len(inner) == shape[-1] for inner in level):
            raise BadInput(f"{name}: lists of one level must be equally long")
        level = [item for inner in level for item in inner]
    if not spec.shape.is_compatible_with(shape):
        raise BadInput(f"{name} must have the shape {spec.shape}. Received: {tuple(shape)}")
    if max(len(level) if spec.dtype == tf.string else 0, shape[0] if shape else 0) > limits.max_texts:
        raise BadInput(f"{name} may have at most {limits.max_texts} texts in one request (--max-texts)")
    if spec.dtype == tf.string:
        array = np.empty(len(level), object)
        array[:] = [_bytes(item, name, limits) for item in level]
    else:
        array = _numbers(level, name, spec.dtype)
    return array.reshape(shape)


def _bytes(value, name, limits):
    if _is_base64(value):
        try:
            value = base64.b64decode(value["b64"] + "=" * (-len(value["b64"]) % 4), validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadInput(f"{name}: a b64 value must be base64") from error
    if not isinstance(value, (str, bytes)):
        raise BadInput(f"{name}: JSON value of type {type(value).__name__} is not of expected type: string")
    if len(value) > limits.max_text_length:
        raise BadInput(f"{name}: a text may have at most {limits.max_text_length} characters (--max-text-length). "
                       f"Received: {len(value)}")
    try:
        return value if isinstance(value, bytes) else value.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"{name}: the surrogate pair in a string is invalid") from error


def _numbers(values, name, dtype):
    if dtype.is_bool:
        fits = all(type(value) is bool for value in values)
    elif dtype.is_integer:
        least, most = int(dtype.min), int(dtype.max)
        fits = all(type(value) is int and least <= value <= most for value in values)
    elif dtype.is_floating:
        most = float(dtype.max)
        fits = all(type(value) in (int, float) and (abs(value) <= most or abs(value) == np.inf or value != value)
                   for value in values)
    else:
        raise BadInput(f"{name} has the type {dtype.name}, which JSON cannot give")
    if not fits:
        raise BadInput(f"{name}: a JSON value is not of expected type: {dtype.name}")
    return np.array(values, dtype.as_numpy_dtype)
