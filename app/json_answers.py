"""A model's arrays in, the JSON that answers TensorFlow Serving's predict call out.

The rules are those of https://www.tensorflow.org/tfx/serving/api_rest: rows or columns as they were asked for, outputs
named …_bytes as {"b64": …}, and the numbers NaN, Infinity and -Infinity are allowed.
"""

import base64
import json

import numpy as np

from app.json_tensors import BadInput


def write_answer(outputs, in_rows):
    """The body of the answer to a predict call.

    Args:
        outputs: {name: np.ndarray}.
        in_rows: whether the request was in rows.

    Returns:
        bytes: {"predictions": [a value, or an object, for each row]} or {"outputs": a value, or an object of them}.

    Raises:
        BadInput: rows were asked for, and the outputs have none or not equally many.
    """
    if in_rows and (not all(array.ndim for array in outputs.values())
                    or len({len(array) for array in outputs.values()}) != 1):
        raise BadInput("this signature's outputs have no equal rows: ask with 'inputs' in place of 'instances'")
    values = {name: _plain(name, array) for name, array in outputs.items()}
    if len(values) == 1:
        answer, = values.values()
    elif in_rows:
        answer = [dict(zip(values, row)) for row in zip(*values.values())]
    else:
        answer = values
    return json.dumps({"predictions" if in_rows else "outputs": answer}, ensure_ascii=False).encode()


def _plain(name, array):
    """An array as nested lists; numbers of less than 64 bits get the fewest digits that stand for them."""
    if array.dtype == object:
        decoded = np.empty(array.size, object)
        if name.endswith("_bytes"):
            decoded[:] = [{"b64": base64.b64encode(value).decode()} for value in array.flat]
        else:
            decoded[:] = [value.decode(errors="replace") for value in array.flat]
        return decoded.reshape(array.shape).tolist()
    if array.dtype.kind == "c":
        raise BadInput(f"{name} has the type {array.dtype}, which JSON cannot give")
    if array.dtype.kind in "fV" and array.dtype.itemsize < 8:  # V: bfloat16
        return (array if array.dtype.kind == "f" else array.astype(np.float32)).astype("U").astype(np.float64).tolist()
    return array.tolist()
