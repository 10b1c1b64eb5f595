"""A SavedModel and texts (JSON on standard input) in, its answers (JSON) out, through TensorFlow's C API alone.

Run as a process of its own: it loads libtensorflow with ctypes, no Python TensorFlow. Input: {"library", "folder",
"inputs": {tensor name: texts}, "outputs": [names of a float32 matrix, a string vector and a float32 vector]}.
Output: [matrix, labels, scores]. The calls are those of tensorflow/c/c_api.h and tf_tstring.h.
"""

import ctypes
import json
import sys

import numpy as np

FLOAT, STRING = 1, 7  # TF_FLOAT, TF_STRING in tensorflow/c/tf_datatype.h
STRING_BYTES = 24  # sizeof(TF_TString)


class Output(ctypes.Structure):
    """TF_Output: an operation and which of its outputs."""

    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


def call(library, name, *arguments, returns=ctypes.c_void_p):
    """Calls a C function. Plain ints are passed as 64 bits, so that no pointer is cut."""
    function = getattr(library, name)
    function.restype = returns
    return function(*(ctypes.c_int64(a) if isinstance(a, int) else a for a in arguments))


def check(library, status):
    """Raises what a TF_Status says unless it is OK."""
    if call(library, "TF_GetCode", status, returns=ctypes.c_int):
        raise RuntimeError(call(library, "TF_Message", status, returns=ctypes.c_char_p).decode())


def output(library, graph, name):
    """"operation:2" → TF_Output."""
    operation, _, index = name.partition(":")
    found = call(library, "TF_GraphOperationByName", graph, operation.encode())
    assert found, f"no operation {operation}"
    return Output(found, int(index))


def string_tensor(library, texts):
    """A TF_STRING vector."""
    tensor = call(library, "TF_AllocateTensor", STRING, (ctypes.c_int64 * 1)(len(texts)), 1, STRING_BYTES * len(texts))
    address = call(library, "TF_TensorData", ctypes.c_void_p(tensor))
    for number, text in enumerate(texts):
        place, content = ctypes.c_void_p(address + STRING_BYTES * number), text.encode()
        call(library, "TF_StringInit", place, returns=None)
        call(library, "TF_StringCopy", place, content, len(content), returns=None)
    return tensor


def values(library, tensor):
    """A TF_FLOAT or TF_STRING tensor as nested lists."""
    pointer = ctypes.c_void_p(tensor)
    shape = [call(library, "TF_Dim", pointer, axis, returns=ctypes.c_int64)
             for axis in range(call(library, "TF_NumDims", pointer, returns=ctypes.c_int))]
    address, size = call(library, "TF_TensorData", pointer), int(np.prod(shape))
    if call(library, "TF_TensorType", pointer, returns=ctypes.c_int) == FLOAT:
        return np.ctypeslib.as_array((ctypes.c_float * size).from_address(address)).reshape(shape).tolist()
    places = [ctypes.c_void_p(address + STRING_BYTES * number) for number in range(size)]
    return [ctypes.string_at(call(library, "TF_StringGetDataPointer", place),
                             call(library, "TF_StringGetSize", place, returns=ctypes.c_size_t)).decode()
            for place in places]


def main():
    request = json.load(sys.stdin)
    library = ctypes.CDLL(request["library"])
    status, graph, options = (ctypes.c_void_p(call(library, name))
                              for name in ("TF_NewStatus", "TF_NewGraph", "TF_NewSessionOptions"))
    tags = (ctypes.c_char_p * 1)(b"serve")
    session = ctypes.c_void_p(call(library, "TF_LoadSessionFromSavedModel", options, None, request["folder"].encode(),
                                   tags, 1, graph, None, status))
    check(library, status)
    inputs = [output(library, graph, name) for name in request["inputs"]]
    outputs = [output(library, graph, name) for name in request["outputs"]]
    tensors = [string_tensor(library, texts) for texts in request["inputs"].values()]
    results = (ctypes.c_void_p * len(outputs))()
    call(library, "TF_SessionRun", session, None,
         (Output * len(inputs))(*inputs), (ctypes.c_void_p * len(tensors))(*tensors), len(inputs),
         (Output * len(outputs))(*outputs), results, len(outputs), None, 0, None, status, returns=None)
    check(library, status)
    assert "tensorflow" not in sys.modules
    print(json.dumps([values(library, tensor) for tensor in results]))


if __name__ == "__main__":
    main()
