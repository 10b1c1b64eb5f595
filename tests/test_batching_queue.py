"""Requests that wait are answered together, each with its own answer, and no more wait than may."""

import asyncio
import contextlib
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from app.batching_queue import BatchingQueue, QueueFull
from app.service_settings import Batching

LENGTHS = SimpleNamespace(name="lengths", batches=True)
ALONE = SimpleNamespace(name="alone", batches=False)


class Model:
    """Says how long texts are; works only while `may_work` is set; refuses batches that hold "bad"."""

    def __init__(self):
        self.batches, self.may_work, self.works = [], threading.Event(), threading.Event()
        self.may_work.set()

    def run(self, signature, inputs):
        self.works.set()
        assert self.may_work.wait(30)
        texts = inputs["text"]
        self.batches.append(texts.tolist())
        if "bad" in texts:
            raise ValueError("bad")
        return {"length": np.array([len(text) for text in texts.flat]).reshape(texts.shape)}


def texts(*values):
    return {"text": np.array(values, object)}


@contextlib.contextmanager
def busy_queue(model, **batching):
    """A queue whose one thread is busy with the text "first", so that what is put waits until `model.may_work`."""
    rows = []
    queue = BatchingQueue(model.run, Batching(threads=1, **batching), rows.append)
    queue.observed = rows
    model.may_work.clear()
    queue.first = queue.put(LENGTHS, texts("first"))
    assert model.works.wait(30)
    yield queue
    model.may_work.set()
    queue.close()


def test_what_waits_is_answered_together_and_everybody_gets_his_own():
    async def clients():
        model = Model()
        with busy_queue(model, max_batch_size=4) as queue:
            answers = [queue.put(LENGTHS, texts(*"x" * count)) for count in (1, 2, 2)]
            assert queue.rows == 5
            model.may_work.set()
            found = [(await answer)["length"].tolist() for answer in (queue.first, *answers)]
            assert found == [[5], [1], [1, 1], [1, 1]] and queue.rows == 0
        assert [len(batch) for batch in model.batches] == queue.observed == [1, 3, 2]

    asyncio.run(clients())


def test_a_thread_leaves_the_other_its_share():
    async def clients():
        model, answers, sizes = Model(), [], []
        model.may_work.clear()
        queue = BatchingQueue(model.run, Batching(threads=2), sizes.append)
        for text in ("first", "second"):
            answers.append(queue.put(LENGTHS, texts(text)))
            while queue.rows:
                await asyncio.sleep(0.001)
        answers += [queue.put(LENGTHS, texts(text)) for text in "abcdef"]
        model.may_work.set()
        assert [(await answer)["length"].tolist() for answer in answers] == [[5], [6], *[[1]] * 6]
        assert sorted(sizes) == [1, 1, 1, 2, 3]  # of six waiting three, of three two
        queue.close()

    asyncio.run(clients())


def test_a_free_model_waits_for_company_where_there_was_some():
    async def clients():
        model = Model()
        with busy_queue(model, max_batch_size=2, wait_ms=30_000) as queue:  # "first" is alone and waits for nobody
            answers = [queue.put(LENGTHS, texts(text)) for text in ("a", "bb")]
            model.may_work.set()
            await asyncio.gather(queue.first, *answers)
            answers.append(queue.put(LENGTHS, texts("ccc")))
            await asyncio.sleep(0.1)
            answers.append(queue.put(LENGTHS, texts("dddd")))  # now the batch is full
            assert [(await answer)["length"].tolist() for answer in answers] == [[1], [2], [3], [4]]
        assert model.batches == [["first"], ["a", "bb"], ["ccc", "dddd"]]

    asyncio.run(clients())


def test_a_large_request_is_answered_in_parts():
    async def client():
        model = Model()
        queue = BatchingQueue(model.run, Batching(max_batch_size=4, threads=1))
        answer = await queue.put(LENGTHS, texts(*("x" * n for n in range(11))))
        assert answer["length"].tolist() == list(range(11))
        assert [len(batch) for batch in model.batches] == [4, 4, 3]
        none = await queue.put(LENGTHS, texts())
        assert none["length"].tolist() == []
        queue.close()

    asyncio.run(client())


def test_other_shapes_other_signatures_and_what_does_not_batch_are_answered_apart():
    async def clients():
        model = Model()
        with busy_queue(model, max_batch_size=8) as queue:
            wide = {"text": np.array([["aa", "b"]], object)}
            answers = [queue.put(signature, given) for signature, given in (
                (LENGTHS, texts("c")), (LENGTHS, wide), (SimpleNamespace(name="other", batches=True), texts("d")),
                (ALONE, texts("e")), (ALONE, texts("f")), (LENGTHS, texts("g")))]
            model.may_work.set()
            assert [(await answer)["length"].tolist() for answer in answers] == [[1], [[2, 1]], [1], [1], [1], [1]]
        assert model.batches[1:] == [["c", "g"], [["aa", "b"]], ["d"], ["e"], ["f"]]

    asyncio.run(clients())


def test_a_request_that_fails_spoils_no_other():
    async def clients():
        model = Model()
        with busy_queue(model) as queue:
            good, bad, another = (queue.put(LENGTHS, texts(text)) for text in ("good", "bad", "x"))
            model.may_work.set()
            assert (await good)["length"].tolist() == [4] and (await another)["length"].tolist() == [1]
            with pytest.raises(ValueError, match="bad"):
                await bad

    asyncio.run(clients())


def test_inputs_that_cannot_be_put_together_spoil_no_other():
    class Unlike(np.ndarray):
        """What numpy refuses to concatenate, as where memory is short."""

        def __array_function__(self, *arguments):
            raise MemoryError

    async def clients():
        model = Model()
        with busy_queue(model) as queue:
            answers = [queue.put(LENGTHS, given) for given in (texts("a"), {"text": texts("bb")["text"].view(Unlike)})]
            model.may_work.set()
            assert [(await answer)["length"].tolist() for answer in answers] == [[1], [2]]
            assert (await queue.put(LENGTHS, texts("ccc")))["length"].tolist() == [3]  # the thread lives

    asyncio.run(clients())


@pytest.mark.parametrize(("signature", "given"), [(LENGTHS, texts()), (ALONE, texts("a", "b"))])
def test_every_request_takes_a_place(signature, given):
    async def clients():
        with busy_queue(Model(), max_queue=2) as queue:
            for _ in range(2):
                queue.put(signature, given)
            with pytest.raises(QueueFull):
                queue.put(signature, given)

    asyncio.run(clients())


def test_an_answer_that_comes_after_the_loops_end_is_left(monkeypatch):
    failed = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    model = Model()
    model.may_work.clear()

    async def client():
        queue = BatchingQueue(model.run, Batching(threads=1))
        queue.put(LENGTHS, texts("a"))
        assert model.works.wait(30)
        return queue

    queue = asyncio.run(client())
    model.may_work.set()
    queue.close()
    assert not failed


def test_more_than_may_wait_is_refused_and_what_was_given_up_is_not_computed():
    async def clients():
        model = Model()
        with busy_queue(model, max_queue=3, max_batch_size=2) as queue:
            given_up, kept = queue.put(LENGTHS, texts("a", "b")), queue.put(LENGTHS, texts("c", "d"))
            with pytest.raises(QueueFull) as refused:
                queue.put(LENGTHS, texts("e"))
            assert refused.value.seconds >= 0
            given_up.cancel()
            model.may_work.set()
            assert (await kept)["length"].tolist() == [1, 1]
            assert (await queue.put(LENGTHS, texts("f")))["length"].tolist() == [1]
        assert model.batches == [["first"], ["c", "d"], ["f"]]

    asyncio.run(clients())


def test_a_queue_that_closes_answers_what_it_has():
    async def clients():
        model = Model()
        with busy_queue(model) as queue:
            answer = queue.put(LENGTHS, texts("last"))
            model.may_work.set()
            queue.close()
            assert not any(thread.is_alive() for thread in queue._threads)
            assert (await answer)["length"].tolist() == [4]

    asyncio.run(clients())


def test_two_batches_are_answered_at_a_time():
    both = threading.Barrier(2)

    def run(signature, inputs):
        both.wait(30)  # for the other one
        return {"length": np.array([len(text) for text in inputs["text"]])}

    async def client():
        queue = BatchingQueue(run, Batching(max_batch_size=2))
        answer = await queue.put(LENGTHS, texts("a", "bb", "ccc", "dddd"))
        assert answer["length"].tolist() == [1, 2, 3, 4]
        queue.close()

    asyncio.run(client())
