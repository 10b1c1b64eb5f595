"""What happens in the service in, numbers in Prometheus's format out."""

import prometheus_client

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class ServiceMetrics:
    """Counters of one server; `models` are labels, whatever else is asked for counts under ""."""

    def __init__(self):
        self.registry = registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=registry)
        self.requests = prometheus_client.Counter(
            "fromzero_requests", "Requests answered, by model and HTTP status.", ("model", "status"), registry=registry)
        self.seconds = prometheus_client.Histogram(
            "fromzero_request_seconds", "From a request's first line to its answer.", ("model",), buckets=SECONDS,
            registry=registry)
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
        """A request has been answered."""
        self.requests.labels(model, str(status)).inc()
        self.seconds.labels(model).observe(seconds)
        self.texts.labels(model).inc(texts)

    def text(self):
        """Everything as Prometheus reads it, bytes."""
        return prometheus_client.generate_latest(self.registry)
