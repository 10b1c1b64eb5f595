"""Exported SavedModels in, answers over HTTP out, by TensorFlow Serving's REST interface."""

import json
import logging
import re
import signal
import socket
import sys
import urllib.parse
from pathlib import Path

import tyro

from app.service_settings import Batching, Limits
from app.terminal import check_at_least, console, import_tensorflow


def serve(
    exports: tyro.conf.Positional[tuple[Path, ...]],
    *,
    host: str = "127.0.0.1",
    port: int = 8501,
    max_batch_size: int = Batching.max_batch_size,
    batch_wait_ms: float = Batching.wait_ms,
    max_queue: int = Batching.max_queue,
    max_texts: int = Limits.max_texts,
    max_text_length: int = Limits.max_text_length,
    max_body_bytes: int = Limits.max_body_bytes,
    timeout: float = Limits.timeout,
    poll_seconds: float = 2.0,
) -> None:
    """Serve exported SavedModels over HTTP, as TensorFlow's Model Server does over REST.

    Of each model the newest version that can be loaded answers: GET /v1/models/NAME[/versions/N] and …/metadata, POST
    /v1/models/NAME[/versions/N]:predict with "instances" (rows) or "inputs" (columns). A new version folder is found
    without a stop; the one before answers what it has taken in and is unloaded. Besides: / is a page to try the models,
    in English and Chinese, which asks this server alone; /healthz, /readyz, /metrics for Prometheus and /openapi.json.

    Texts of many clients are answered together. A request that is too large or malformed gets 400 or 413, a client that
    is too slow 408, one that comes while too much waits 503 with Retry-After, an answer that takes too long 504. SIGTERM
    or Ctrl-C: requests that were taken in are finished, then the process ends with exit code 0.

    The log has a line a request: method, path, status, milliseconds, number of texts; never a text.

    Args:
        exports: folders such as export/sentiment, which hold SavedModels in folders 1, 2, …; the name of the folder is
            that of the model. Of export/sentiment/1 this version alone is served.
        host: address to listen at; 0.0.0.0 is every one of this machine's. There is no password and no encryption.
        port: to listen at; 0 takes a free one.
        max_batch_size: how many texts a batch has at most; a model answers two batches at a time.
        batch_wait_ms: how long the first text of a batch waits for others, if the batch before had several requests.
        max_queue: texts that may wait for a model before further ones are refused.
        max_texts: of one request.
        max_text_length: characters of a text.
        max_body_bytes: of one request.
        timeout: seconds an answer may take, and for finishing at the end.
        poll_seconds: between two looks for new versions.
    """
    check_at_least(1, max_batch_size=max_batch_size, max_queue=max_queue, max_texts=max_texts,
                   max_text_length=max_text_length, max_body_bytes=max_body_bytes)
    check_at_least(0, port=port, batch_wait_ms=batch_wait_ms)
    check_at_least(0.01, timeout=timeout, poll_seconds=poll_seconds)
    if not exports:
        raise ValueError("name at least one export to serve, such as export/sentiment")
    _listening(host, port).close()  # an address that is taken is an error before the work
    # TensorFlow imports Keras where it is installed, and that pandas and more: 170 MB, and a third of the start.
    sys.modules.setdefault("keras", None)
    import_tensorflow()
    if sys.modules["keras"] is None:
        del sys.modules["keras"]
    from app.http_server import http_server
    from app.rest import application
    from app.served_models import load_models
    from app.service_metrics import ServiceMetrics

    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    metrics = ServiceMetrics()
    models = load_models(exports, Batching(max_batch_size, batch_wait_ms, max_queue), metrics.observe_batch)
    limits = Limits(max_body_bytes, max_texts, max_text_length, timeout)
    server = http_server(application(models, limits, metrics, poll_seconds), timeout)
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn takes them over, and raises them again at its end
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    # How long a thread keeps Python's lock while another waits for it, 5 ms else: the event loop and the threads that run
    # models need it by turns, several times a batch.
    sys.setswitchinterval(0.0005)
    with _listening(host, port) as listener:
        _show(models, listener)
        server.run(sockets=[listener])


def _listening(host, port):
    """A socket that listens."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:  # port 70000
        raise ValueError(f"--host and --port must be an address of this machine and a free port. Received: {host} and "
                         f"{port}: {getattr(error, 'strerror', None) or error}") from error


def _show(models, listener):
    """What is served, where, and a line to try it."""
    from rich.panel import Panel
    from rich.text import Text

    host, port = listener.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    lines = []
    for name, model in models.items():
        lines.append(f"{name}, version {model.current.number}: {model.folder}")
        lines += [f"  {signature.name}: {', '.join(signature.inputs)} → {', '.join(signature.outputs)}"
                  for signature in model.current.signatures.values()]
    console.print(Panel(Text("\n".join(lines)), title=address, expand=False))
    name, model = next(iter(models.items()))
    example = json.dumps(_example(model.current.signatures), ensure_ascii=False)
    path = re.sub(r"[^\w.-]", lambda character: urllib.parse.quote(character[0]), name)
    console.print(f"curl {address}/v1/models/{path}:predict -d '{example}'", markup=False)
    console.print(f"To try it in a browser: {address}", markup=False)
    console.print("The log has a line a request: method, path, status, milliseconds, number of texts; never a text. "
                  "Ctrl-C stops.")


def _example(signatures):
    """A request with one row."""
    signature = signatures.get("serving_default") or next(iter(signatures.values()))
    row = {}
    for name, spec in signature.inputs.items():
        row[name] = "这是一个很好的产品" if spec.dtype.name == "string" else 1
        for size in reversed(spec.shape[1:] if spec.shape.rank else []):
            row[name] = [row[name]] * (size or 1)
    instances = [row if len(row) > 1 else next(iter(row.values()))]
    named = {} if signature.name == "serving_default" else {"signature_name": signature.name}
    return {**named, "instances": instances}
