"""What TensorFlow's Model Server reads beside a SavedModel: warm-up requests and models.config, in its protos."""

import functools
import re
import textwrap

import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from tensorflow.core.framework import tensor_pb2

WARMUP = "tf_serving_warmup_requests"  # in assets.extra/
FOLDER = "/models"  # where Model Server's image looks for models
# {message: {field: (its public number, type)}}, the few that are needed of tensorflow_serving/apis/{model,predict,
# prediction_log}.proto and config/model_server_config.proto. A map is a repeated message of key and value.
MESSAGES = {
    "ModelSpec": {"name": (1, "string"), "signature_name": (3, "string")},
    "Input": {"key": (1, "string"), "value": (2, "tensorflow.TensorProto")},
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "repeated Input")},
    "PredictLog": {"request": (1, "PredictRequest")},
    "PredictionLog": {"predict_log": (6, "PredictLog")},
    "ModelConfig": {"name": (1, "string"), "base_path": (2, "string"), "model_platform": (4, "string")},
    "ModelConfigList": {"config": (1, "repeated ModelConfig")},
    "ModelServerConfig": {"model_config_list": (1, "ModelConfigList")},
}


@functools.cache
def _message(name):
    """The class of a message.

    The package has a name of its own: where tensorflow-serving-api is installed, the public one is taken. Neither bytes
    nor text of a message hold it.
    """
    pool = descriptor_pool.Default()
    file = descriptor_pb2.FileDescriptorProto(name="fromzero/model_server.proto", package="fromzero", syntax="proto3",
                                              dependency=[tensor_pb2.DESCRIPTOR.name])
    for message, fields in MESSAGES.items():
        declared = file.message_type.add(name=message)
        for field, (number, kind) in fields.items():
            repeated, kind = kind.startswith("repeated "), kind.removeprefix("repeated ")
            added = declared.field.add(name=field, number=number)
            added.label = added.LABEL_REPEATED if repeated else added.LABEL_OPTIONAL
            added.type = added.TYPE_STRING if kind == "string" else added.TYPE_MESSAGE
            if kind != "string":
                added.type_name = f".{kind}" if "." in kind else f".fromzero.{kind}"
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"fromzero.{name}"))


def write_warmup(path, model_name, inputs):
    """Writes a TFRecord of PredictionLog: requests that a server answers before it says that it is ready.

    Args:
        path: the file, `WARMUP` in the folder assets.extra of the SavedModel.
        model_name: what the model is served as.
        inputs: {signature: {input: (values, name of the dtype)}}: one request for each signature.
    """
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, tensors in inputs.items():
            request = {"model_spec": {"name": model_name, "signature_name": signature},
                       "inputs": [{"key": name, "value": tf.make_tensor_proto(values, dtype)}
                                  for name, (values, dtype) in tensors.items()]}
            writer.write(_message("PredictionLog")(predict_log={"request": request}).SerializeToString())


def read_warmup(path):
    """Yields (signature, {input: np.ndarray}) for each PredictRequest of such a file."""
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = _message("PredictionLog").FromString(record).predict_log.request
        if request.inputs:
            yield (request.model_spec.signature_name or "serving_default",
                   {given.key: tf.make_ndarray(given.value) for given in request.inputs})


def with_model(text, name):
    """The text of a models.config in which `name` is listed as well; all that it said before stays as it was.

    Args:
        text: a ModelServerConfig in protobuf's text format; "" for a new one.
        name: of the model, in the folder of the same name.

    Raises:
        ValueError: the text is not one.
    """
    before = _names(text)
    if name in before:
        return text
    config = _message("ModelConfig")(name=name, base_path=f"{FOLDER}/{name}", model_platform="tensorflow")
    entry = textwrap.indent(text_format.MessageToString(config, as_utf8=True), "    ")
    entry = f"\n  config {{\n{entry}  }}"
    if found := re.search(r"^[^#\n]*\bmodel_config_list\s*:?\s*[{<]", text, re.MULTILINE):
        text = text[: found.end()] + entry + text[found.end() :]
    elif all(line.strip()[:1] in ("", "#") for line in text.splitlines()):
        text += ("\n" if text else "") + f"model_config_list {{{entry}\n}}\n"
    if _names(text) != [name, *before]:
        raise ValueError("models.config must be a model_config_list that a further config fits into")
    return text


def _names(text):
    try:
        config = text_format.Parse(text, _message("ModelServerConfig")(), allow_unknown_field=True)
    except text_format.ParseError as error:
        raise ValueError(f"models.config must be Model Server's text format. Received: {error}") from error
    return [model.name for model in config.model_config_list.config]
