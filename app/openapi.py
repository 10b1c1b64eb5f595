"""Loaded models in, an OpenAPI 3.1 description of what the server offers out."""

import math

ERRORS = {400: "the request is malformed, or the model cannot take its values", 404: "no such model or version",
          408: "the body did not arrive in time", 413: "the body is too large",
          503: "too much waits, or there are too many connections: try again later", 504: "the answer took too long"}
BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}={0,2}|[A-Za-z0-9+/]{3}=?)?$"  # padded or not


def description(models, limits):
    """The description as a dict.

    Args:
        models: {name: `app.served_models.ServedModel`}; of each the version that answers now is described.
        limits: `app.service_settings.Limits`.
    """
    paths = {"/healthz": _get("The process is alive."), "/readyz": _get("Every model is loaded."),
             "/metrics": _get("Prometheus metrics.", "text/plain"), "/openapi.json": _get("This description."),
             "/": _get("A page to try the models.", "text/html"),
             "/models.json": _get("The models, their signatures and what their exports say of themselves.")}
    for name, model in models.items():
        version = {"name": "version", "in": "path", "required": True, "example": str(model.current.number),
                   "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"}}
        for path, parameters in ((f"/v1/models/{name}", []), (f"/v1/models/{name}/versions/{{version}}", [version])):
            paths[path] = _get(f"The state of the versions of {name}.", parameters=parameters, errors=(400, 404))
            paths[f"{path}/metadata"] = _get(f"The signatures of {name}.", parameters=parameters, errors=(400, 404))
            paths[f"{path}:predict"] = {"post": _predict(name, model.current.signatures.values(), limits, parameters)}
    return {"openapi": "3.1.0",
            "info": {"title": "fromzero serve", "version": "1",
                     "description": "The REST interface of TensorFlow Serving."},
            "paths": paths,
            "components": {"schemas": {"error": _object({"error": {"type": "string"}})}}}


def _object(properties, **more):
    return {"type": "object", "properties": properties, "required": list(properties), **more}


def _responses(about, content, errors):
    refused = {"application/json": {"schema": {"$ref": "#/components/schemas/error"}}}
    return {"200": {"description": about, "content": content},
            **{str(status): {"description": ERRORS[status], "content": refused} for status in errors}}


def _get(about, media_type="application/json", parameters=(), errors=()):
    content = {media_type: {"schema": {"type": "object" if media_type == "application/json" else "string"}}}
    return {"get": {"summary": about, "parameters": list(parameters), "responses": _responses(about, content, errors)}}


def _predict(name, signatures, limits, parameters):
    bodies, answers = [], []
    for signature in signatures:
        inputs, rows = ({name: _tensor(spec, first_axis, limits) for name, spec in signature.inputs.items()}
                        for first_axis in (0, 1))
        row = [_object(rows, additionalProperties=False), *(rows.values() if len(rows) == 1 else ())]
        rows_asked = [{"type": "array", "minItems": 1, "maxItems": limits.max_texts, "items": schema} for schema in row]
        column = [_object(inputs), *(inputs.values() if len(inputs) == 1 else ())]
        optional = signature.name == "serving_default"
        asked = {"signature_name": {"enum": [signature.name, *([""] if optional else [])]}}
        for key, schema in (("instances", {"anyOf": rows_asked}), ("inputs", {"anyOf": column})):
            other = {"instances": "inputs", "inputs": "instances"}[key]
            bodies.append({"type": "object", "properties": {**asked, key: schema, other: False},
                           "required": [key] if optional else [key, "signature_name"]})
        columns = {name: _tensor(spec) for name, spec in signature.outputs.items()}
        rows = {name: schema.get("items", {}) for name, schema in columns.items()}
        answers.append(_object({"predictions": {"type": "array", "items": _one_or_all(rows)}}))
        answers.append(_object({"outputs": _one_or_all(columns)}))
    about = (f"What {name} says. Lists of one level must be equally long; a body may have {limits.max_body_bytes} "
             f"bytes, an input {limits.max_texts} texts.")
    return {"summary": about, "parameters": list(parameters),
            "requestBody": {"required": True, "content": {"application/json": {"schema": {"anyOf": bodies}}}},
            "responses": _responses("The outputs.", {"application/json": {"schema": {"anyOf": answers}}}, ERRORS)}


def _one_or_all(schemas):
    return next(iter(schemas.values())) if len(schemas) == 1 else _object(schemas)


def _tensor(spec, first_axis=0, limits=None):
    """The schema of a tensor from one of its axes on: of an input with limits, else of an output.

    {} where the number of axes is open, and of a number, which has no first axis.
    """
    if spec.shape.rank is None or spec.shape.rank < first_axis:
        return {}
    is_text = spec.dtype.name == "string"
    if is_text:
        most = limits.max_text_length if limits else None
        schema = {"anyOf": [_string(most), _object({"b64": _string(most and 4 * math.ceil(most / 3), pattern=BASE64)},
                                                   additionalProperties=False)]}
    elif spec.dtype.is_bool:
        schema = {"type": "boolean"}
    elif spec.dtype.is_integer:
        schema = {"type": "integer", "minimum": int(spec.dtype.min), "maximum": int(spec.dtype.max)}
    else:
        schema = {"type": "number"} if limits else {}  # an output may be NaN
    for axis, size in reversed(list(enumerate(spec.shape.as_list()))[first_axis:]):
        length = {} if size is None else {"minItems": size, "maxItems": size}
        if limits and size is None and (is_text or axis == 0):
            length = {"maxItems": limits.max_texts}
        if limits and schema.get("type") == "array":  # [] has one axis
            length = {"minItems": 1, **length}
        schema = {"type": "array", "items": schema, **length}
    return schema


def _string(longest, **more):
    return {"type": "string", **more, **({} if longest is None else {"maxLength": longest})}
