"""The server bears clients that are slow, vanish, send too much, do not wait or are too many."""

import contextlib
import json
import select
import socket
import time

import httpx
from test_serve import client, held, metric, predict, saved, served, until  # client and saved are fixtures

import app.http_server

POST, HEALTHZ = b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: a\r\n", b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


def raw(client, data):
    """A connection that sends bytes as they are."""
    connection = socket.create_connection(client.address, timeout=30)
    connection.sendall(data)
    return connection


def until_closed(connection):
    """All that the server sends before it closes a connection."""
    return b"".join(iter(lambda: connection.recv(10_000), b""))


def an_answer(connection):
    """An answer whose body is a JSON object."""
    received = b""
    while not received.endswith(b"}"):
        received += (some := connection.recv(10_000))
        assert some
    return received


def test_of_a_body_that_is_too_large_little_is_read(client):
    declared = POST + b"Content-Length: 100000000\r\n"
    for head in (declared + b"\r\n", declared + b"Expect: 100-continue\r\n\r\n"):
        with raw(client, head) as connection:
            assert an_answer(connection).startswith(b"HTTP/1.1 413")
    piece = b"10000\r\n" + b"x" * 2**16 + b"\r\n"
    with raw(client, POST + b"Transfer-Encoding: chunked\r\n\r\n") as connection:
        sent = 0
        while not select.select([connection], [], [], 0.01)[0]:
            connection.sendall(piece)
            sent += 2**16
        assert an_answer(connection).startswith(b"HTTP/1.1 413") and 4 * 2**20 <= sent < 20 * 2**20
    with raw(client, POST + b"Content-Length: 5000000\r\n\r\n") as connection:
        assert an_answer(connection).startswith(b"HTTP/1.1 413")
        connection.sendall(b"x" * 5_000_000 + HEALTHZ)  # it may send all of it
        assert an_answer(connection).startswith(b"HTTP/1.1 200")


def test_slow_and_vanished_clients(saved, monkeypatch):
    monkeypatch.setattr(app.http_server, "CLIENT_SECONDS", 0.3)
    monkeypatch.setattr(app.http_server, "IDLE_SECONDS", 0.3)
    request = POST + b"Content-Length: 20\r\n\r\n"
    with served(saved / "1", body_timeout=0.3) as client:
        for beginning in (b"", b"POST /v1/mod", request[:-10], HEALTHZ, HEALTHZ + b"GET /"):
            with raw(client, beginning) as connection:
                assert until_closed(connection)[:12] == (b"HTTP/1.1 200" if beginning.startswith(b"GET") else b"")
        with raw(client, HEALTHZ) as connection:
            assert an_answer(connection).startswith(b"HTTP/1.1 200")
            connection.sendall(b"\r\n")  # is no request: the time runs on
            assert until_closed(connection) == b""
        with raw(client, request + b'{"instances"') as connection:
            received = until_closed(connection)
            assert received.startswith(b"HTTP/1.1 408") and b"did not arrive within 0.3 s" in received
        with contextlib.suppress(ConnectionError):  # reset
            with raw(client, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 100_000) as connection:
                assert until_closed(connection) == b""
        with raw(client, b"\x16\x03\x01\x00") as connection:
            assert until_closed(connection).startswith(b"HTTP/1.1 400")
        raw(client, request).close()  # in the middle of the body
        with held(client) as begun:
            with raw(client, request + b'{"instances": ["a"]}'):
                assert begun.wait(30)
            until(lambda: metric(client, 'fromzero_requests_total{model="tiny",status="499"}') == 2)
        assert predict(client, {"instances": ["a"]}).status_code == 200


def test_a_client_that_reads_nothing(saved, monkeypatch):
    monkeypatch.setattr(app.http_server, "CLIENT_SECONDS", 0.3)
    size = 8 * 2**20
    with served(saved / "1", max_body_bytes=2 * size, max_text_length=size) as client:
        body = json.dumps({"signature_name": "pick", "inputs": {"ids": [[0]], "name": ["a" * size]}}).encode()
        assert len(predict(client, body).content) > size
        connections = client.server.server_state.connections
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(client.address)
            connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            until(lambda: metric(client, 'fromzero_requests_total{model="tiny",status="200"}') == 2)
            until(lambda: len(connections) == 1)
            assert len(until_closed(connection)) < size


def test_a_client_that_does_not_wait_for_its_answer(saved, monkeypatch):
    monkeypatch.setattr(app.http_server, "CLIENT_SECONDS", 0.3)
    body = b'{"instances": ["a"]}'
    request = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with served(saved / "1") as client:
        for further in (b"GET /", HEALTHZ, request, HEALTHZ * 10):  # the time of the second is not that of the first
            with held(client) as begun:
                connection = raw(client, request + further)
                assert begun.wait(30)
                time.sleep(0.6)
            with connection:
                received = until_closed(connection)
            assert received.count(b"HTTP/1.1 ") == 1 and received.startswith(b"HTTP/1.1 200")
            assert b"\r\nconnection: close\r\n" in received and b"predictions" in received


def test_more_connections_than_may(saved, monkeypatch):
    monkeypatch.setattr(app.http_server, "MOST_CONNECTIONS", 1)
    monkeypatch.setattr(app.http_server, "REFUSED_CONNECTIONS", 1)
    with served(saved / "1") as client:
        assert predict(client, {"instances": ["a"]}).status_code == 200  # and stays
        path = f"{client.base_url}/v1/models/tiny:predict"
        refused = httpx.post(path, json={"instances": ["a"]})
        assert refused.status_code == 503 and "too many connections" in refused.json()["error"]
        assert int(refused.headers["retry-after"]) >= 1 and refused.headers["connection"] == "close"
        assert httpx.get(f"{client.base_url}/healthz").status_code == 200
        assert metric(client, 'fromzero_requests_total{model="tiny",status="503"}') == 1
        with raw(client, b"GET /"):
            until(lambda: len(client.server.server_state.connections) == 2)
            with contextlib.suppress(ConnectionError), raw(client, HEALTHZ) as connection:
                assert until_closed(connection) == b""
        client.close()
        until(lambda: not client.server.server_state.connections)
        assert httpx.post(path, json={"instances": ["a"]}).status_code == 200
