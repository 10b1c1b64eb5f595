"""Texts in, how and when a server has answered each request out: the server, clients that leave it the cores."""

import asyncio
import contextlib
import dataclasses
import itertools
import json
import re
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

from benchmarks.peers import HERE

LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Answer:
    """`due`: seconds from the beginning to when it was to be asked; `seconds` from then on; `status` 0: none came."""

    due: float
    seconds: float
    status: int


@contextlib.contextmanager
def served(exports):
    """`fromzero serve` in a process of its own; yields its (host, port) and that process."""
    command = [sys.executable, "-m", "app", "serve", *map(str, exports), "--port", "0"]
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.PIPE, stderr=log,
                                                           text=True, encoding="utf-8") as process:
        try:
            address = next(filter(None, (re.match(r"curl http://(.+):(\d+)/", line) for line in process.stdout)), None)
            if address is None:
                log.seek(0)
                raise RuntimeError(f"serve has ended:\n{log.read().decode()}")
            yield (address[1], int(address[2])), process
        finally:
            process.terminate()


@contextlib.contextmanager
def watched(process):
    """Yields a list, to which the resident bytes of a `psutil.Process` are added each second."""
    memory, ended = [], threading.Event()

    def watch():
        while not ended.wait(1):
            memory.append(process.memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield memory
    finally:
        ended.set()
        watching.join()


def latencies(seconds):
    """[what half of them took at most, what 99 % of them took at most]; None each where there are none."""
    return np.percentile(seconds, (50, 99)).tolist() if seconds else [None, None]


class Connection(asyncio.Protocol):
    """A connection that is kept, with one request under way at most."""

    def __init__(self):
        self.received, self.answer, self.is_open = b"", None, True

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if end and len(body) == int(LENGTH.search(head)[1]):
            self.received = b""
            self._end(int(head[9:12]))  # HTTP/1.1 200 OK

    def connection_lost(self, error):
        self.is_open = False
        self._end(0)

    def _end(self, status):
        if self.answer and not self.answer.done():
            self.answer.set_result(status)

    async def ask(self, request):
        """Sends bytes; returns the status of the answer, 0 if the connection ends without one."""
        self.answer = asyncio.get_running_loop().create_future()
        if not self.is_open:
            return 0
        self.transport.write(request)
        return await self.answer


class Clients:
    """Clients of one model on a server, which ask it the same texts from the first one again and again."""

    def __init__(self, address, model, texts, each=1):
        """
        Args:
            address: (host, port).
            model: its name.
            texts: strings.
            each: how many of them a request has.
        """
        self.address, self.each = address, each
        bodies = (json.dumps({"instances": texts[start : start + each]}, ensure_ascii=False).encode()
                  for start in range(0, len(texts), each))
        self.requests = [b"POST /v1/models/%s:predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                         b"Content-Length: %d\r\n\r\n%s" % (model.encode(), len(body), body) for body in bodies]

    async def _ask(self, connection, request):
        """(connection, status) of a request, on a new one where it is closed or None; (None, 0) if none opens."""
        try:
            if not (connection and connection.is_open):
                _, connection = await asyncio.get_running_loop().create_connection(Connection, *self.address)
            return connection, await connection.ask(request)
        except OSError:
            await asyncio.sleep(0.1)  # a server that has ended would be asked as fast as it can be
            return None, 0

    def without_pause(self, clients, seconds):
        """So many clients, each of which asks again as soon as it is answered; a list of `Answer`."""
        return asyncio.run(self._without_pause(clients, seconds))

    async def _without_pause(self, clients, seconds):
        answers, started = [], time.perf_counter()
        requests = itertools.cycle(self.requests)

        async def client():
            connection = None
            while (asked := time.perf_counter()) - started < seconds:
                connection, status = await self._ask(connection, next(requests))
                answers.append(Answer(asked - started, time.perf_counter() - asked, status))
            if connection:
                connection.transport.close()

        await asyncio.gather(*(client() for _ in range(clients)))
        return answers

    def at_rate(self, rate, seconds, seed=0):
        """So many requests a second on average, at times that do not wait for answers (Poisson); a list of `Answer`."""
        return asyncio.run(self._at_rate(rate, seconds, seed))

    async def _at_rate(self, rate, seconds, seed):
        answers, free, asking = [], [], set()
        random, due, started = np.random.default_rng(seed), 0.0, time.perf_counter()

        async def ask(request, due):
            connection, status = await self._ask(free.pop() if free else None, request)
            answers.append(Answer(due, time.perf_counter() - started - due, status))
            if connection:
                free.append(connection)

        for request in itertools.cycle(self.requests):
            if (due := due + random.exponential(1 / rate)) > seconds:
                break
            # Also where nothing is left to wait: answers are to be read between two requests.
            await asyncio.sleep(max(0.0, started + due - time.perf_counter()))
            asking.add(task := asyncio.create_task(ask(request, due)))
            task.add_done_callback(asking.discard)
        await asyncio.gather(*asking)
        for connection in free:
            connection.transport.close()
        return answers
