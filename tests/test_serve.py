"""The server answers as TensorFlow Serving does, follows the folders, and stops when told to."""

import asyncio
import base64
import contextlib
import gc
import json
import logging
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import httpx
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from test_json_tensors import BODIES

import app.http_server
import app.rest
import app.served_models
from app.__main__ import main
from app.classifier import load_classifier
from app.json_answers import write_answer
from app.json_tensors import read_request
from app.rest import application
from app.served_models import load_models
from app.service_metrics import ServiceMetrics
from app.service_settings import Batching, Limits

ROOT = Path(__file__).parents[1]


class Tiny(tf.Module):
    """Texts with more letters than `mark` are "long"."""

    def __init__(self, mark):
        super().__init__()
        self.mark = tf.Variable(float(mark))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def sizes(self, text):
        length = tf.cast(tf.strings.length(text, "UTF8_CHAR"), tf.float32)
        probabilities = tf.nn.softmax(tf.stack([tf.zeros_like(length), length - self.mark], axis=1))
        return {"label": tf.gather(tf.constant(["short", "long"]), tf.argmax(probabilities, 1)),
                "probabilities": probabilities}

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32, name="ids"),
                                  tf.TensorSpec([None], tf.string, name="name")])
    def pick(self, ids, name):
        return {"picked": tf.reduce_sum(tf.gather(tf.constant([1, 20, 300]), ids), axis=1), "name_bytes": name}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="steps")])
    def slow(self, steps):
        last = tf.while_loop(lambda n: n < tf.reduce_max(steps), lambda n: [n + 1], [0])[0]
        return {"steps": steps + 0 * last}


def save(folder, mark):
    module = Tiny(mark)
    tf.saved_model.save(module, str(folder), signatures={
        "serving_default": module.sizes.get_concrete_function(), "pick": module.pick.get_concrete_function(),
        "slow": module.slow.get_concrete_function()})


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Versions 1 and 2 of a model: marks 3 and 30."""
    folder = tmp_path_factory.mktemp("saved") / "tiny"
    for version, mark in ((1, 3), (2, 30)):
        save(folder / str(version), mark)
    return folder


@contextlib.contextmanager
def served(*folders, poll=60.0, batching=Batching(), **limits):
    """A client of a running server; `models`, `base_url` and the rest are its attributes."""
    metrics = ServiceMetrics()
    models = load_models(folders, batching, metrics.observe_batch)
    server = app.http_server.http_server(application(models, Limits(**limits), metrics, poll), 10)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=60) as client:
        client.models, client.address, client.server = models, listener.getsockname(), server
        try:
            yield client
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def client(saved):
    with served(saved / "1") as found:
        yield found


def until(true):
    deadline = time.monotonic() + 30
    while not (found := true()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def predict(client, body, path="/v1/models/tiny:predict"):
    return client.post(path, **({"content": body} if isinstance(body, bytes) else {"json": body}))


def metric(client, pattern):
    return sum(float(line.split()[-1]) for line in client.get("/metrics").text.splitlines() if re.match(pattern, line))


def test_rows_and_columns(client):
    for path in ("/v1/models/tiny:predict", "/v1/models/tiny/versions/1:predict"):
        rows = predict(client, {"instances": ["好", "a long text"]}, path)
        assert rows.status_code == 200 and rows.headers["content-type"] == "application/json"
        assert [row["label"] for row in rows.json()["predictions"]] == ["short", "long"]
        columns = predict(client, {"inputs": {"text": ["好", "a long text"]}}, path).json()["outputs"]
        for name in ("label", "probabilities"):
            assert columns[name] == [row[name] for row in rows.json()["predictions"]]
    np.testing.assert_allclose(columns["probabilities"][0], [1 / (1 + np.exp(-2)), 1 - 1 / (1 + np.exp(-2))], rtol=1e-6)
    assert predict(client, {"inputs": []}).json() == {"outputs": {"label": [], "probabilities": []}}


def test_named_signatures_numbers_and_bytes(client):
    rows = [{"ids": [0, 1], "name": {"b64": base64.b64encode(b"\xff").decode()}}, {"ids": [2, 2], "name": "b"}]
    answer = predict(client, {"signature_name": "pick", "instances": rows}).json()
    assert answer == {"predictions": [{"name_bytes": {"b64": "/w=="}, "picked": 21},
                                      {"name_bytes": {"b64": "Yg=="}, "picked": 600}]}
    answer = predict(client, {"signature_name": "slow", "instances": [1, 2]}).json()
    assert answer == {"predictions": [1, 2]}  # one output: no names


def test_what_the_model_refuses_is_the_clients_mistake(client):
    answer = predict(client, {"signature_name": "pick", "instances": [{"ids": [3], "name": "a"}]})
    assert answer.status_code == 400 and "indices" in answer.json()["error"]


def test_status_and_metadata(client):
    status = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ("/v1/models/tiny", "/v1/models/tiny/versions/1"):
        assert client.get(path).json() == {"model_version_status": [status]}
    found = client.get("/v1/models/tiny/metadata").json()
    assert found["model_spec"] == {"name": "tiny", "signature_name": "", "version": "1"}
    signature = found["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["text"] == {
        "dtype": "DT_STRING", "name": "serving_default_text:0",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}}
    assert [dim["size"] for dim in signature["outputs"]["probabilities"]["tensor_shape"]["dim"]] == ["-1", "2"]


@pytest.mark.parametrize(("method", "path", "status", "reason"), [
    ("POST", "/v1/models/none:predict", 404, "Servable not found for request: Latest(none)"),
    ("POST", "/v1/models/tiny/versions/7:predict", 404, "Servable not found for request: Specific(tiny, 7)"),
    ("GET", "/v1/models/none", 404, "Could not find any versions of model none"),
    ("GET", "/v1/models/tiny/versions/7", 404, "Could not find version 7 of model tiny"),
    ("GET", f"/v1/models/tiny/versions/{2**63 - 1}", 404, f"Could not find version {2**63 - 1} of model tiny"),
    ("GET", f"/v1/models/tiny/versions/{2**63}", 400, f"Failed to convert version: {2**63} to numeric."),
    ("POST", f"/v1/models/tiny/versions/{'9' * 5000}:predict", 400,
     f"Failed to convert version: {'9' * 5000} to numeric."),
    ("GET", "/v1/models/none/metadata", 404, "Servable not found for request: Latest(none)"),
    ("GET", "/v1/models", 400, "Missing model name in request."),
    *((method, path, 400, f"Malformed request: {method} {path}") for method, path in (
        ("POST", "/v1/models"), ("POST", "/v1/models/tiny"), ("PUT", "/v1/models/tiny:predict"), ("GET", "/v1/none"),
        ("GET", "/v1/models/tiny:predict"), ("GET", "/v1/models/tiny/versions/1:predict"), ("GET", "/v1/models/"),
        ("POST", "/v1/models/tiny:classify"), ("POST", "/v1/models/tiny/labels/a:predict"),
        ("POST", "/v1/models/a:b:predict"), ("GET", "/v1/models/tiny/versions/HELLO"),
        ("POST", "/v1/models/tiny/versions/HELLO:predict"), ("GET", "/v1/models/tiny/versions/%D9%A1"))),
    ("GET", "/none", 404, "Malformed request: GET /none"),
    ("POST", "/healthz", 405, "Malformed request: POST /healthz"),
    ("POST", "/v1/models/%ff%0a:predict", 404, "Servable not found for request: Latest(\ufffd\n)"),
])
def test_errors(client, method, path, status, reason):
    answer = client.request(method, path, content=b'{"instances": ["a"]}' if method == "POST" else None)
    assert answer.status_code == status and answer.json() == {"error": reason}
    assert status != 405 or answer.headers["allow"]


@settings(max_examples=60, deadline=None)
@given(BODIES | st.lists(st.text(), max_size=5).map(lambda texts: json.dumps({"instances": texts}).encode()))
def test_any_body_gets_an_answer_or_a_reason(client, body):
    answer = predict(client, body)
    assert answer.status_code in (200, 400)
    assert set(answer.json()) < {"error", "predictions", "outputs"}


def test_health_metrics_and_description(client):
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
    added = {'fromzero_requests_total{model="tiny",status="200"}': 1, 'fromzero_texts_total{model="tiny"}': 3,
             'fromzero_batch_rows_sum{model="tiny"}': 3, 'fromzero_request_seconds_count{model="tiny"}': 1}
    before = {pattern: metric(client, pattern) for pattern in added}
    predict(client, {"instances": ["a", "b", "c"]})
    assert {pattern: metric(client, pattern) - before[pattern] for pattern in added} == added
    assert 'fromzero_queue_rows{model="tiny"} 0.0' in client.get("/metrics").text


def test_the_description_says_what_is_accepted_and_what_comes_back(client):
    described = client.get("/openapi.json").json()
    assert described["openapi"] == "3.1.0"
    for path, methods in described["paths"].items():
        for method in methods:
            answer = client.request(method, path.format(version=1), content=b'{"instances": ["a"]}')
            assert answer.status_code == 200, path
    post = described["paths"]["/v1/models/tiny:predict"]["post"]
    asked, answered = (Draft202012Validator(found["content"]["application/json"]["schema"])
                       for found in (post["requestBody"], post["responses"]["200"]))
    b64 = {"b64": "/w=="}
    for body in ({"instances": ["a", b64]}, {"instances": [{"text": "a"}]}, {"inputs": ["a"]}, {"inputs": {"text": []}},
                 {"instances": [{"ids": [1], "name": b64}], "signature_name": "pick"},
                 {"inputs": {"ids": [[0, 1]], "name": ["a"]}, "signature_name": "pick"},
                 {"instances": [3], "signature_name": "slow"}, {"instances": ["a"], "signature_name": "serving_default"},
                 {"instances": ["a"], "signature_name": ""}, {"instances": [{"b64": "YQ"}]},
                 {"instances": [{"ids": [0] * 1025, "name": "a"}], "signature_name": "pick"},
                 {"instances": ["a", {"text": "a"}]}, {"inputs": {"ids": [], "name": []}, "signature_name": "pick"},
                 {}, [], {"instances": []}, {"instances": "a"}, {"instances": ["a"], "inputs": ["a"]}, {"inputs": "a"},
                 {"instances": [1]}, {"instances": [["a"]]}, {"instances": [{"text": "a", "b": "c"}]},
                 {"instances": ["a"] * 1025}, {"instances": ["a" * 100_001]}, {"instances": [{"b64": "="}]},
                 {"instances": ["a"], "signature_name": "none"}, {"instances": ["a"], "signature_name": "pick"},
                 {"instances": [2**31], "signature_name": "slow"}, {"inputs": {"ids": [[0]]}, "signature_name": "pick"}):
        answer = predict(client, body)
        assert asked.is_valid(body) == (answer.status_code == 200), body
        assert answered.is_valid(answer.json()) == (answer.status_code == 200), body


def test_the_log_has_no_texts(client, caplog):
    with caplog.at_level(logging.INFO, "app.serve"):
        predict(client, {"instances": ["a secret", "another secret"]})
        predict(client, {"signature_name": "a secret", "instances": ["a secret"]})
        client.get("/healthz?a=secret")
        until(lambda: len(caplog.records) == 3)  # a line may come after its answer
    lines = [record.getMessage() for record in caplog.records]
    assert re.fullmatch(r"POST /v1/models/tiny:predict 200 [\d.]+ ms, texts: 2", lines[0])
    assert re.fullmatch(r"POST /v1/models/tiny:predict 400 [\d.]+ ms, texts: 0", lines[1])
    assert "secret" not in "".join(lines)


def test_limits(saved):
    with served(saved / "1", max_body_bytes=1000, max_texts=3, max_text_length=20) as client:
        for body, status, rule in ((b"x" * 3_000_000, 413, "(--max-body-bytes). Received: at least 3000000"),
                                   ({"instances": ["a"] * 4}, 400, "at most 3 texts in one request (--max-texts)"),
                                   ({"instances": ["a" * 21]}, 400, "at most 20 characters (--max-text-length)"),
                                   ({"instances": ["a"] * 3}, 200, "")):
            answer = predict(client, body)
            assert answer.status_code == status and rule in answer.text
        in_pieces = client.post("/v1/models/tiny:predict", content=(b"x" * 100 for _ in range(100)))
        assert in_pieces.status_code == 413


def test_odd_texts(client):
    for body, status, rule in ((b'{"instances": [' + b'"a",' * 999_999 + b'"a"]}', 400, "--max-texts"),
                               (b'{"instances": ["a\\ud800"]}', 400, "surrogate"),
                               (b'{"instances": ["a\\udc00\\ud800"]}', 400, "surrogate"),
                               (b'{"instances": ["a\0b"]}', 400, "JSON Parse error"),
                               (b'{"instances": ["a\\u0000b"]}', 200, "short"),
                               (b'{"instances": ["\\ud83d\\ude00"]}', 200, "short")):
        answer = predict(client, body)
        assert answer.status_code == status and rule in answer.text


def test_what_is_large_is_read_and_written_beside_the_event_loop(saved, monkeypatch):
    threads = {}

    def told(function):
        def run(*arguments):
            threads[function] = threading.current_thread().name
            return function(*arguments)
        return run

    for function in (read_request, write_answer):
        monkeypatch.setattr(app.rest, function.__name__, told(function))
    with served(saved / "1", max_texts=10_000) as client:
        for body, is_read_beside, is_written_beside in ((["a"] * 10, False, False), (["a"] * 9000, False, True),
                                                        (["a" * 70_000], True, False)):
            assert predict(client, {"instances": body}).status_code == 200
            assert (threads[read_request].startswith("asyncio"), threads[write_answer].startswith("asyncio")) == (
                is_read_beside, is_written_beside)


@contextlib.contextmanager
def held(client):
    """While it lasts, the model answers nothing; yields an event that is set when it has begun."""
    queue, begun, may_work = client.models["tiny"].current.queue, threading.Event(), threading.Event()
    run = queue.run

    def wait(signature, inputs):
        begun.set()
        assert may_work.wait(30)
        return run(signature, inputs)

    queue.run = wait
    try:
        yield begun
    finally:
        may_work.set()
        queue.run = run


def test_too_much_is_refused_and_too_slow_is_given_up(saved):
    statuses = []
    with served(saved / "1", batching=Batching(max_queue=1, threads=1), timeout=2) as client, held(client) as begun:
        threads = [threading.Thread(target=lambda: statuses.append(predict(client, {"instances": ["a"]}).status_code))
                   for _ in range(2)]
        threads[0].start()
        assert begun.wait(30)
        threads[1].start()
        until(lambda: client.models["tiny"].current.queue.rows == 1)
        refused = predict(client, {"instances": ["a"]})
        assert refused.status_code == 503 and int(refused.headers["retry-after"]) >= 1 and "waiting" in refused.text
        for thread in threads:
            thread.join()
    assert statuses == [504, 504]


def label_of_ten_letters(client):
    return predict(client, {"instances": ["x" * 10]}).json()["predictions"][0]["label"]


def test_new_versions_are_found_and_broken_ones_left(saved, tmp_path, caplog):
    folder = tmp_path / "tiny"
    shutil.copytree(saved / "1", folder / "1")
    with served(folder, poll=0.05) as client:
        assert label_of_ten_letters(client) == "long"
        shutil.copytree(saved / "2", folder / "10")  # above 9 as a number
        until(lambda: label_of_ten_letters(client) == "short")
        until(lambda: client.get("/v1/models/tiny/versions/1").status_code == 404)
        assert predict(client, {"instances": ["a"]}, "/v1/models/tiny/versions/1:predict").status_code == 404
        with caplog.at_level(logging.WARNING, "app.serve"):
            shutil.copytree(saved / "1", folder / "copy", ignore=lambda *_: {"variables"})
            (folder / "copy").rename(folder / "11")
            until(lambda: client.get("/v1/models/tiny").json()["model_version_status"][0]["state"] == "END")
            (folder / "12").mkdir()  # without a model
            (folder / "latest").mkdir()
            time.sleep(0.3)
        broken, available = client.get("/v1/models/tiny").json()["model_version_status"]
        assert (broken["version"], available["version"], available["state"]) == ("11", "10", "AVAILABLE")
        assert len(caplog.records) == 1 and "version 11 of tiny cannot be loaded" in caplog.text  # not again and again
        assert label_of_ten_letters(client) == "short"
        shutil.copytree(saved / "1" / "variables", folder / "11" / "variables")  # now it is complete
        until(lambda: label_of_ten_letters(client) == "long")
        shutil.rmtree(folder / "11")  # back to the one before
        until(lambda: label_of_ten_letters(client) == "short")
        (folder / "13").mkdir()
        (folder / "13" / "saved_model.pb").write_bytes(b"\x00\x01")
        until(lambda: client.get("/v1/models/tiny").json()["model_version_status"][0]["version"] == "13")
        shutil.rmtree(folder / "13")
        until(lambda: len(client.get("/v1/models/tiny").json()["model_version_status"]) == 1)


def test_a_model_waits_for_no_other(saved, tmp_path):
    for name in ("tiny", "other"):
        shutil.copytree(saved / "1", tmp_path / name / "1")
    with served(tmp_path / "tiny", tmp_path / "other", poll=0.05) as client, held(client) as begun:
        asking = threading.Thread(target=predict, args=(client, {"instances": ["a"]}))
        asking.start()
        assert begun.wait(30)
        for name in ("tiny", "other"):  # of the first the version before is in use
            shutil.copytree(saved / "2", tmp_path / name / "2")
            until(lambda name=name: client.models[name].current.number == 2)
        assert sorted(client.models["tiny"].versions) == [1, 2]
    asking.join()


def test_the_end_while_a_version_loads(saved, tmp_path, monkeypatch, caplog):
    failed, loads, may_load = [], threading.Event(), threading.Event()
    monkeypatch.setattr(threading, "excepthook", failed.append)
    shutil.copytree(saved / "1", tmp_path / "tiny" / "1")

    def load(*arguments):
        loads.set()
        assert may_load.wait(30)
        raise ValueError

    with served(tmp_path / "tiny", poll=0.05):
        monkeypatch.setattr(app.served_models, "LoadedVersion", load)
        shutil.copytree(saved / "2", tmp_path / "tiny" / "2")
        assert loads.wait(30)
        threading.Timer(1, may_load.set).start()
    assert not failed and not any(record.exc_info for record in caplog.records)


def test_a_version_in_use_stays(saved, tmp_path):
    folder = tmp_path / "tiny"
    shutil.copytree(saved / "1", folder / "1")

    async def replace():
        model = load_models([folder], Batching())["tiny"]
        # What was loaded is looked through no more: a full collection does not stop the answers.
        assert not any(tracked is model.current for tracked in gc.get_objects())
        gone = weakref.ref(model.current)
        with model.current.in_use() as old:
            shutil.copytree(saved / "2", folder / "2")
            await model.refresh()  # the first look: it may still be written
            assert model.current is old
            refreshing = asyncio.create_task(model.refresh())
            while model.current is old:
                await asyncio.sleep(0.01)
            assert model.current.number == 2 and sorted(model.versions) == [1, 2]
            asked = old.queue.put(old.signatures["serving_default"], {"text": np.array([b"x" * 10], object)})
            assert (await asked)["label"].tolist() == [b"long"]
        await refreshing
        assert sorted(model.versions) == [2] and not any(thread.is_alive() for thread in old.queue._threads)
        del old
        assert gone() is None  # which was looked through once more
        model.current.queue.close()

    asyncio.run(replace())


def test_mistakes_are_one_line(saved, tmp_path, capsys):
    shutil.copytree(saved / "1", tmp_path / "other" / "tiny" / "1")
    (tmp_path / "broken" / "1").mkdir(parents=True)
    (tmp_path / "broken" / "1" / "saved_model.pb").write_bytes(b"\x00\x01")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for arguments, rule in (([], "name at least one export"), ([saved, "--port", port], "a free port"),
                                ([saved, "--port", "70000"], "a free port"),
                                ([saved, "--host", "256.0.0.1"], "an address of this machine"),
                                ([tmp_path / "nowhere", "--port", 0], "an export is a folder of SavedModels"),
                                ([tmp_path / "broken", "--port", 0], "can be loaded: see above"),
                                ([saved, tmp_path / "other" / "tiny", "--port", 0], "a name of its own"),
                                ([saved, "--max-queue", "0"], "--max-queue must be at least 1"),
                                ([saved, "--timeout", "inf"], "--timeout must be a finite number"),
                                ([tmp_path / "a:b", "--port", 0], "must have no colon")):
            assert main(["serve", *map(str, arguments)]) == 2
            error = capsys.readouterr().err.splitlines()[-1]
            assert error.startswith("error: ") and rule in error


def test_nobody_can_connect_while_the_models_load(saved, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()

    def load(*arguments):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=30)
        raise ValueError("was asked to load")

    monkeypatch.setattr(app.served_models, "load_models", load)
    with pytest.raises(ValueError, match="was asked to load"):
        main(["serve", str(saved), "--port", str(address[1])])


# Of this project the process needs the folder app/ alone.
PROGRAM = """
import sys
sys.modules.update(dict.fromkeys(("models", "data", "keras", "tensorflow_text")))  # importing them is an error
from app.__main__ import main
sys.exit(main(["serve", *sys.argv[1:], "--port", "0"]))
"""


def test_a_real_export_in_a_process_of_its_own(exported, classifier_run, saved):
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, exported[0].parent, saved], cwd=ROOT, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
    try:
        while not (found := re.match(r"curl (http://127\.0\.0\.1:\d+)", line := process.stdout.readline())):
            assert line, process.stderr.read()
        with httpx.Client(base_url=found[1], timeout=60) as client:
            body = re.search(r"-d '(.*)'$", line)[1]  # as a person would copy it
            assert client.post("/v1/models/sentiment:predict", content=body.encode()).status_code == 200
            texts = ["a good film", "这是一个很好的产品", "", "\x00 😀", "very " * 500]
            answer = client.post("/v1/models/sentiment:predict", json={"inputs": texts}).json()["outputs"]
            expected = load_classifier(classifier_run).probabilities(texts)
            np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)
            about = client.get("/models.json").json()["models"][0]["about"]
            assert about["task"] == "sentiment" and about["labels"] == list(load_classifier(classifier_run).label_names)
            ids = predict(client, {"signature_name": "token_ids", "instances": [[1, 2]]}, "/v1/models/sentiment:predict")
            assert ids.status_code == 200 and set(ids.json()["predictions"][0]) == {"label", "probabilities", "score"}
            # Stopped in the middle of a request: it is answered nevertheless.
            answers = []
            slow = threading.Thread(target=lambda: answers.append(client.post("/v1/models/tiny:predict", json={
                "signature_name": "slow", "instances": [200_000]})))
            slow.start()
            with httpx.Client(base_url=found[1]) as other:
                until(lambda: metric(other, 'fromzero_batch_rows_count{model="tiny"}') == 1)
            process.send_signal(signal.SIGTERM)
            slow.join()
        assert answers[0].json() == {"predictions": [200_000]}
        _, log = process.communicate(timeout=60)
        assert process.returncode == 0, log
        assert "Traceback" not in log and "good film" not in log and "POST /v1/models/tiny:predict 200" in log
    finally:
        process.kill()
