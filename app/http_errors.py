"""What went wrong with a request in, TensorFlow Serving's form of an error out: {"error": reason}."""

import json
import math

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from app.batching_queue import QueueFull
from app.json_tensors import BadInput


def busy(reason, seconds):
    """The exception for a request that may be sent again after so many seconds."""
    return HTTPException(503, str(reason), {"Retry-After": str(max(1, math.ceil(seconds)))})


def _error(status, reason, headers=None):
    return Response(json.dumps({"error": str(reason)}), status, headers, "application/json")


async def _bad_input(request, error):
    return _error(400, error)


async def _queue_full(request, error):
    return await _http_error(request, busy(error, error.seconds))


async def _http_error(request, error):
    if error.detail not in ("Not Found", "Method Not Allowed"):  # as the router says it
        return _error(error.status_code, error.detail, error.headers)
    path = request.scope["raw_path"].decode()
    reason = f"Malformed request: {request.method} {path}"
    return _error(400, reason) if path.startswith("/v1/") else _error(error.status_code, reason, error.headers)


async def _gone(request, error):
    return Response(status_code=499)  # nobody reads it; for the log


async def _bug(request, error):
    return _error(500, "the server has a bug: its log says which")


HANDLERS = {BadInput: _bad_input, QueueFull: _queue_full, HTTPException: _http_error, ClientDisconnect: _gone, Exception: _bug}
