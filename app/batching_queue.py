"""Requests of many clients in, batches for one model, and every client's own answer out."""

import asyncio
import collections
import contextlib
import dataclasses
import math
import threading
import time

import numpy as np


class QueueFull(Exception):
    """The request was not taken in; `seconds` is about how long those that wait will take."""

    def __init__(self, seconds):
        super().__init__("too many texts are waiting for this model")
        self.seconds = seconds


class _Request:
    """A future and the answers to the parts of a request, as far as they are there."""

    def __init__(self, parts):
        self.loop = asyncio.get_running_loop()
        self.future = self.loop.create_future()
        self.answers = [None] * parts
        self.missing = parts

    def receive(self, part, answer):
        """Runs on the event loop, as all that touches the future does."""
        if self.future.done():
            return
        if isinstance(answer, Exception):
            self.future.set_exception(answer)
            return
        self.answers[part] = answer
        self.missing -= 1
        if not self.missing:
            self.future.set_result({name: np.concatenate([answer[name] for answer in self.answers])
                                    for name in answer} if len(self.answers) > 1 else answer)


@dataclasses.dataclass
class _Part:
    """At most a batch of one request. Parts with equal keys may be answered together."""

    request: _Request
    number: int
    key: object
    signature: object
    inputs: dict
    rows: int
    arrived: float


class BatchingQueue:
    """The threads that run a model, and what waits for them."""

    def __init__(self, run, batching, observe_batch=lambda rows: None):
        """Starts the threads.

        Args:
            run: function of an `app.loaded_version.Signature` and {input: np.ndarray} to {output: np.ndarray}.
            batching: `app.service_settings.Batching`.
            observe_batch: is told how many rows each batch has.
        """
        self.run, self.batching, self.observe_batch = run, batching, observe_batch
        self.rows = 0  # that wait
        self._seconds_a_row = 0.0
        self._parts = collections.deque()
        self._had_company = False  # the last batch: of several requests
        self._closed = False
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(batching.threads)]
        for thread in self._threads:
            thread.start()

    def put(self, signature, inputs):
        """Takes a request in; called on the event loop.

        Args:
            signature: what is asked.
            inputs: {input: np.ndarray}, the first axes equal where the signature `batches`.

        Returns:
            A future of {output: np.ndarray}; whoever cancels it gives the request up.

        Raises:
            QueueFull: enough are waiting.
        """
        size = self.batching.max_batch_size
        if signature.batches and (rows := next(iter(inputs.values())).shape[0]):
            shapes = tuple((name, array.shape[1:]) for name, array in sorted(inputs.items()))
            key, starts = (signature.name, shapes), range(0, rows, size)
        else:
            rows, key, starts = 1, object(), [0]  # a key equal to no other; without rows it takes a place too
        request = _Request(len(starts))
        with self._changed:
            self.check_room()
            for number, start in enumerate(starts):
                part = inputs if len(starts) == 1 else {
                    name: array[start : start + size] for name, array in inputs.items()}
                self._parts.append(_Part(request, number, key, signature, part, min(size, rows - start),
                                         time.monotonic()))
            self.rows += rows
            self._changed.notify_all()
        return request.future

    def check_room(self):
        """Raises QueueFull if enough are waiting: cheaper to ask before a request is read."""
        if self.rows >= self.batching.max_queue:
            raise QueueFull(self.rows * self._seconds_a_row / len(self._threads))

    def close(self, seconds=None):
        """Answers what waits, then ends the threads; blocks until then, or so long at most."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        deadline = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            thread.join(deadline and max(0.0, deadline - time.monotonic()))

    def _work(self):
        while batch := self._next_batch():
            started = time.monotonic()
            self.observe_batch(sum(part.rows for part in batch))
            answers = self._answers(batch)
            seconds_a_row = (time.monotonic() - started) / sum(part.rows for part in batch)
            with self._changed:
                self._seconds_a_row += 0.1 * (seconds_a_row - self._seconds_a_row)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                batch[0].request.loop.call_soon_threadsafe(_deliver, batch, answers)

    def _next_batch(self):
        """The first part that waits and those that fit to it; an empty list when the queue is closed and empty.

        A thread leaves the others their share of what waits: a batch of few is answered sooner than one of many, and the
        others would have nothing to do.
        """
        size = self.batching.max_batch_size
        with self._changed:
            while True:
                while not self._parts and not self._closed:
                    self._changed.wait()
                wait = self.batching.wait_ms / 1000 if self._had_company else 0
                deadline = self._parts[0].arrived + wait if self._parts else 0
                while self.rows < size and not self._closed and (left := deadline - time.monotonic()) > 0:
                    self._changed.wait(left)
                share = min(size, math.ceil(self.rows / len(self._threads)))
                batch, others, rows = [], collections.deque(), 0
                for part in self._parts:
                    if part.request.future.done():  # given up, or another part has failed
                        continue
                    if not batch or part.key == batch[0].key and rows + part.rows <= share:
                        batch.append(part)
                        rows += part.rows
                    else:
                        others.append(part)
                self._parts, self.rows = others, sum(part.rows for part in others)
                if batch or self._closed:
                    self._had_company = len(batch) > 1
                    return batch

    def _answers(self, batch):
        """For each part its outputs or the exception that answering it raised."""
        if len(batch) > 1:
            counts = [part.rows for part in batch]
            outputs = self._attempt(batch)
            if not isinstance(outputs, Exception) and all(len(array) == sum(counts) for array in outputs.values()):
                ends = np.cumsum(counts)
                return [{name: array[end - count : end] for name, array in outputs.items()}
                        for count, end in zip(counts, ends)]
            # One of them spoilt it for the others: each alone.
        return [self._attempt([part]) for part in batch]

    def _attempt(self, parts):
        try:
            inputs = parts[0].inputs if len(parts) == 1 else {
                name: np.concatenate([part.inputs[name] for part in parts]) for name in parts[0].inputs}
            return self.run(parts[0].signature, inputs)
        except Exception as error:  # whatever it is, the one who asked must hear of it and the thread must go on
            return error


def _deliver(batch, answers):
    for part, answer in zip(batch, answers, strict=True):
        part.request.receive(part.number, answer)
