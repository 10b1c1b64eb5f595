"""HTTP requests in, a model's answers out: TensorFlow Serving's REST interface, health, metrics, description, page.

https://www.tensorflow.org/tfx/serving/api_rest; without classify, regress and labels of versions.
"""

import asyncio
import contextlib
import functools

import prometheus_client
import tensorflow as tf
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.http_errors import HANDLERS, busy
from app.json_answers import write_answer
from app.json_tensors import BadInput, read_request
from app.openapi import description
from app.served_models import watch
from app.service_metrics import observed
from app.web_page import page_routes

SMALL_BODY = 2**16  # bytes that are read or written on the event loop; a larger body would keep other clients waiting
# What operations raise for values that they cannot take.
REFUSED_BY_MODEL = (tf.errors.InvalidArgumentError, tf.errors.FailedPreconditionError, tf.errors.OutOfRangeError,
                    tf.errors.NotFoundError, tf.errors.UnimplementedError)


def application(models, limits, metrics, poll):
    """The ASGI application.

    Args:
        models: {name: `app.served_models.ServedModel`}.
        limits: `app.service_settings.Limits`.
        metrics: `app.service_metrics.ServiceMetrics`.
        poll: seconds between two looks for new versions.
    """
    service = Service(models, limits, metrics, poll)
    names = "/v1/models/{name}", "/v1/models/{name}/versions/{version}"
    routes = [*(Route(f"{path}:predict", service.predict, methods=["POST"]) for path in names),
              *(Route(f"{path}/metadata", service.metadata) for path in names),
              *(Route(path, service.status) for path in names), Route("/v1/models", service.no_name),
              Route("/healthz", service.healthz), Route("/readyz", service.readyz),
              Route("/metrics", service.metrics_page), Route("/openapi.json", service.openapi), *page_routes(models)]
    app = Starlette(routes=routes, lifespan=service.lifespan, exception_handlers=HANDLERS)
    app.router.redirect_slashes = False
    return functools.partial(observed, app, models, metrics)


class Service:
    """The endpoints."""

    def __init__(self, models, limits, metrics, poll):
        self.models, self.limits, self.metrics, self.poll = models, limits, metrics, poll
        for model in models.values():
            metrics.queue.labels(model.name).set_function(lambda model=model: model.current.queue.rows)

    @contextlib.asynccontextmanager
    async def lifespan(self, app):
        """Watches the folders while the server runs."""
        watching = asyncio.create_task(watch(self.models, self.poll))
        yield
        watching.cancel()
        await asyncio.wait([watching])
        await asyncio.gather(*(asyncio.to_thread(model.current.queue.close, 5) for model in self.models.values()))

    async def healthz(self, request):
        """The process is alive."""
        return JSONResponse({"status": "alive"})

    async def readyz(self, request):
        """Every model is loaded: the server does not listen earlier."""
        return JSONResponse({"status": "ready"})

    async def metrics_page(self, request):
        """Prometheus's text format."""
        return Response(self.metrics.text(), media_type=prometheus_client.CONTENT_TYPE_LATEST)

    async def openapi(self, request):
        """What the server offers, OpenAPI 3.1."""
        return JSONResponse(description(self.models, self.limits))

    async def status(self, request):
        """GetModelStatus: of all versions, the newest first, or of one."""
        name, wanted = _asked(request)
        if name not in self.models:
            raise HTTPException(404, f"Could not find any versions of model {name}")
        model = self.models[name]
        found = {number: ("AVAILABLE" if version is model.current else "UNLOADING", "OK", "")
                 for number, version in model.versions.items()}
        found |= {number: ("END", "UNKNOWN", "it cannot be loaded: the server's log says why")
                  for number in model.broken if number not in found}
        found = [{"version": str(number), "state": state, "status": {"error_code": code, "error_message": message}}
                 for number, (state, code, message) in sorted(found.items(), reverse=True)
                 if wanted in (None, number)]
        if not found:
            raise HTTPException(404, f"Could not find version {wanted} of model {name}")
        return JSONResponse({"model_version_status": found})

    async def no_name(self, request):
        """GetModelStatus of no model."""
        raise HTTPException(400, "Missing model name in request.")

    async def metadata(self, request):
        """GetModelMetadata: the signatures."""
        version = self._version(request)
        return JSONResponse({
            "model_spec": {"name": request.path_params["name"], "signature_name": "", "version": str(version.number)},
            "metadata": {"signature_def": {"signature_def": version.metadata}}})

    async def predict(self, request):
        """Predict, in rows or in columns."""
        body = await self._body(request)
        if request.state.is_surplus:
            raise busy("the server has too many connections", 1)
        with self._version(request).in_use() as version:
            version.queue.check_room()
            read = functools.partial(read_request, body, version.signatures, self.limits)
            asked = read() if len(body) <= SMALL_BODY else await asyncio.to_thread(read)
            request.state.texts = asked.texts
            outputs = await self._outputs(request, version, asked)
            write = functools.partial(write_answer, outputs, asked.in_rows)
            written = write() if _size(outputs) <= SMALL_BODY else await asyncio.to_thread(write)
            return Response(written, media_type="application/json")

    def _version(self, request):
        name, number = _asked(request)
        model = self.models.get(name)
        if model and number in (None, model.current.number):
            return model.current
        wanted = f"Latest({name})" if number is None else f"Specific({name}, {number})"
        raise HTTPException(404, f"Servable not found for request: {wanted}")

    async def _body(self, request):
        """The whole body. Of one that is too large the rest is read and forgotten after the answer."""
        self._check_size(int(request.headers.get("content-length", 0)))
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.limits.body_timeout):
                async for part in request.stream():
                    size += len(part)
                    self._check_size(size)
                    parts.append(part)
        except TimeoutError as error:
            raise HTTPException(408, f"the body did not arrive within {self.limits.body_timeout:g} s",
                                {"Connection": "close"}) from error
        return b"".join(parts)

    def _check_size(self, size):
        if size > self.limits.max_body_bytes:
            raise HTTPException(413, f"a body may have at most {self.limits.max_body_bytes} bytes (--max-body-bytes). "
                                     f"Received: at least {size}")

    async def _outputs(self, request, version, asked):
        """What the model answers, unless the time is up or nobody listens any more."""
        answer = version.queue.put(asked.signature, asked.inputs)
        gone = asyncio.ensure_future(request.receive())  # after a body comes nothing but the end of the connection
        try:
            await asyncio.wait({answer, gone}, timeout=self.limits.timeout, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            if gone.done():
                raise ClientDisconnect
            raise HTTPException(504, f"the answer took more than {self.limits.timeout:g} s (--timeout)")
        except REFUSED_BY_MODEL as error:
            raise BadInput(f"the model cannot take these inputs: {error.message[:500]}") from error
        except tf.errors.ResourceExhaustedError as error:
            raise busy("there is too little memory for this request", 1) from error
        finally:
            answer.cancel()
            gone.cancel()


def _asked(request):
    """(model's name, version or None) of a path.

    Raises:
        HTTPException: no model can have such a name, or no version such a number.
    """
    name, version = request.path_params["name"], request.path_params.get("version")
    if ":" in name or version and not (version.isascii() and version.isdecimal()):
        raise HTTPException(404)  # as for a path without a route
    if version and (len(version) > 19 or int(version) >= 2**63):
        raise HTTPException(400, f"Failed to convert version: {version} to numeric.")
    return name, version and int(version)


def _size(outputs):
    """About how many bytes the JSON of {output: np.ndarray} has."""
    return sum(sum(map(len, array.flat)) if array.dtype == object else 12 * array.size for array in outputs.values())
