"""What happens in the service in, numbers in Prometheus's format and a line a request in the log out."""

import logging
import time

import prometheus_client

log = logging.getLogger("app.serve")

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class ServiceMetrics:
    """Counters of one server; what is asked of a model that is not there counts under ""."""

    def __init__(self):
        self.registry = registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=registry)
        self.requests = prometheus_client.Counter(
            "fromzero_requests", "Requests for a model, by its name and HTTP status (499: the client has gone).",
            ("model", "status"), registry=registry)
        self.seconds = prometheus_client.Histogram(
            "fromzero_request_seconds", "From a request's headers to its answer, the arrival of its body included.",
            ("model",), buckets=SECONDS, registry=registry)
        self.texts = prometheus_client.Counter(
            "fromzero_texts", "Texts (of inputs that are numbers: rows) in requests that were understood.", ("model",),
            registry=registry)
        self.batches = prometheus_client.Histogram(
            "fromzero_batch_rows", "Rows that a model answered at once.", ("model",), buckets=ROWS, registry=registry)
        self.queue = prometheus_client.Gauge(
            "fromzero_queue_rows", "Rows that wait for a model.", ("model",), registry=registry)

    def observe_batch(self, model, rows):
        """A batch is about to be answered."""
        self.batches.labels(model).observe(rows)

    def observe_request(self, model, status, seconds, texts):
        """A request for a model has been answered, or its client has gone."""
        self.requests.labels(model, str(status)).inc()
        self.seconds.labels(model).observe(seconds)
        self.texts.labels(model).inc(texts)

    def text(self):
        """Everything as Prometheus reads it, bytes."""
        return prometheus_client.generate_latest(self.registry)


async def observed(app, models, metrics, scope, receive, send):
    """Logs a request: method, path, status, milliseconds and number of texts, and nothing of its body.

    Those for a model are counted too.

    Args:
        app: the ASGI application that answers; scope, receive, send: as it takes them.
        models: {name: model}, whose names requests may count under.
        metrics: `ServiceMetrics`.
    """
    if scope["type"] != "http":
        await app(scope, receive, send)
        return
    started, status = time.perf_counter(), 499

    async def send_and_see(message):
        nonlocal status
        status = message.get("status", status)
        await send(message)

    scope.setdefault("state", {})["texts"] = 0
    try:
        await app(scope, receive, send_and_see)
    finally:
        seconds, texts = time.perf_counter() - started, scope["state"]["texts"]
        name = scope.get("path_params", {}).get("name")
        if name is not None:
            metrics.observe_request(name if name in models else "", status, seconds, texts)
        path = scope["raw_path"].decode("ascii", "replace")
        log.info("%s %.200s %d %.1f ms, texts: %d", scope["method"], path, status, 1000 * seconds, texts)
