"""Every way of decoding finds what enumeration or NumPy says it must."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from models import gpt, heads
from models.config import TransformerConfig
from models.generation import Beams, Sampling, beam_search, choose, sample
from tests.test_models import randomise

V, STOP = 5, 1


class Markov:
    """A decoder whose next token depends on the last one: logits are rows of a table."""

    def __init__(self, seed=0):
        self.table = tf.constant(np.random.default_rng(seed).normal(0, 2, (V, V)), tf.float32)

    def start(self, token_ids, room=None):
        return self._read({"last": tf.convert_to_tensor(token_ids), "position": ops.convert_to_tensor(0)})

    def step(self, state, token_ids):
        return self._read({**state, "last": token_ids, "position": state["position"] + 1})

    def _read(self, state):
        return ops.take(self.table, state["last"], axis=0), state


FORBIDDEN = np.array([True, False, False, False, False])  # token 0 is padding
NOTHING = np.zeros((2, V), bool)


def log_probabilities(decoder):
    table = np.where(FORBIDDEN, -np.inf, decoder.table.numpy().astype(np.float64))
    return table - np.log(np.exp(table).sum(axis=1, keepdims=True))


def enumerate_texts(decoder, first, room):
    """Every text of at most `room` tokens, {tokens: log-probability}."""
    table, texts = log_probabilities(decoder), {}
    for length in range(1, room + 1):
        for tokens in itertools.product(range(1, V), repeat=length):
            if STOP in tokens[:-1] or (length < room and tokens[-1] != STOP):
                continue
            texts[tokens] = sum(table[before, token] for before, token in zip((first, *tokens), tokens))
    return texts


def cut(row):
    return tuple(int(token) for token in row if token)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_wide_beam_finds_the_best_texts(seed, length_penalty):
    decoder, room, num_beams = Markov(seed), 4, 200
    logits, state = decoder.start([2, 3])
    found, scores = beam_search(decoder, logits, state, room, Beams(num_beams, length_penalty), forbidden=FORBIDDEN,
                                stop_id=STOP)
    for row, first in enumerate((2, 3)):
        texts = {text: score / ((5 + len(text)) / 6) ** length_penalty
                 for text, score in enumerate_texts(decoder, first, room).items()}
        best = [cut(text) for text in np.asarray(found)[row, :10]]
        assert len(set(best)) == 10  # different ones; of equal scores any may come first
        np.testing.assert_allclose([texts[text] for text in best], sorted(texts.values(), reverse=True)[:10], rtol=1e-5)
        np.testing.assert_allclose(scores[row, :10], [texts[text] for text in best], rtol=1e-4)


@pytest.mark.parametrize("length_penalty", [0.0, 1.5])
@pytest.mark.parametrize("num_beams", [2, 3])
@pytest.mark.parametrize("size", [0, 2, 3])
def test_a_narrow_beam_keeps_the_best_of_each_step(num_beams, length_penalty, size):
    def rank(hypothesis):
        text, total = hypothesis
        return -total / ((5 + len(text)) / 6) ** length_penalty

    def is_new(text):
        return not size or text[-size:] not in [text[start : start + size] for start in range(len(text) - size)]

    for seed in range(5):
        decoder, room = Markov(seed), 9
        logits, state = decoder.start([2, 3])
        found, _ = beam_search(decoder, logits, state, room, Beams(num_beams, length_penalty, size), forbidden=FORBIDDEN,
                               stop_id=STOP)
        table = log_probabilities(decoder)
        for row, first in enumerate((2, 3)):
            beam = [((), 0.0)]
            for _ in range(room):
                finished = [one for one in beam if STOP in one[0]]
                longer = [((*text, token), total + table[(first, *text)[-1], token])
                          for text, total in beam if STOP not in text for token in range(1, V)
                          if is_new((*text, token))]
                beam = sorted(finished + longer, key=rank)[:num_beams]
            assert [cut(text) for text in np.asarray(found)[row]] == [text for text, _ in beam]


def test_one_beam_is_greedy_and_both_stop():
    decoder = Markov(1)
    logits, state = decoder.start([2, 3])
    options = {"forbidden": FORBIDDEN, "stop_id": STOP}
    beam, _ = beam_search(decoder, logits, state, 6, Beams(1, 0.0), **options)
    greedy = sample(decoder, logits, state, NOTHING, np.zeros((2, 6), np.float32), Sampling(temperature=0), **options)
    np.testing.assert_array_equal(np.asarray(beam)[:, 0], greedy)
    best = np.where(FORBIDDEN, -np.inf, decoder.table.numpy()).argmax(axis=1)
    for row, token in zip(np.asarray(greedy), (2, 3)):
        for drawn in cut(row):
            token = best[token]
            assert drawn == token
        assert token == STOP or len(cut(row)) == 6


def test_sampling_draws_what_the_model_says():
    decoder, count = Markov(2), 20_000
    first = np.full(count, 2)
    logits, state = decoder.start(first)
    uniform = np.random.default_rng(0).random((count, 2)).astype(np.float32)
    drawn = np.asarray(sample(decoder, logits, state, np.zeros((count, V), bool), uniform, Sampling(),
                              forbidden=FORBIDDEN, stop_id=STOP))
    texts = enumerate_texts(decoder, 2, 2)
    for text, log_probability in texts.items():
        share = np.mean([cut(row) == text for row in drawn])
        assert share == pytest.approx(np.exp(log_probability), abs=4 * np.sqrt(0.25 / count))


def test_the_penalty_is_of_all_that_stands_there():
    decoder, room = Markov(3), 6
    logits, state = decoder.start([2, 3])
    present = np.zeros((2, V), bool)
    present[0, 4] = True
    drawn = sample(decoder, logits, state, present, np.zeros((2, room), np.float32),
                   Sampling(temperature=0, repetition_penalty=3.0), forbidden=FORBIDDEN, stop_id=STOP)
    for row, last, before in ((0, 2, {4}), (1, 3, set())):
        wanted = []
        while len(wanted) < room and STOP not in wanted:
            scores = {token: float(decoder.table[last, token]) for token in range(1, V)}
            for token in before:
                scores[token] *= 3 if scores[token] < 0 else 1 / 3
            last = max(scores, key=scores.get)
            before.add(last)
            wanted.append(last)
        assert cut(np.asarray(drawn)[row]) == tuple(wanted)


def shares(sampling, logits=(2.0, 1.0, 0.0, -1.0), present=(False,) * 4):
    """How often each of four tokens is chosen, of 1,000 evenly spaced places in the distribution."""
    uniform = ((np.arange(1000) + 0.5) / 1000).astype(np.float32)
    drawn = choose(np.tile(np.float32(logits), (1000, 1)), np.tile(present, (1000, 1)), uniform, sampling)
    return np.bincount(np.asarray(drawn), minlength=4) / 1000


def softmax(x):
    x = np.exp(np.asarray(x, float))
    return x / x.sum()


def test_each_way_to_narrow_the_choice():
    whole = softmax([2, 1, 0, -1])  # .644, .237, .087, .032
    np.testing.assert_allclose(shares(Sampling()), whole, atol=2e-3)
    np.testing.assert_allclose(shares(Sampling(temperature=2.0)), softmax([1, 0.5, 0, -0.5]), atol=2e-3)
    np.testing.assert_allclose(shares(Sampling(temperature=0)), [1, 0, 0, 0])
    np.testing.assert_allclose(shares(Sampling(top_k=2)), [*softmax([2, 1]), 0, 0], atol=2e-3)
    np.testing.assert_allclose(shares(Sampling(top_k=200)), whole, atol=2e-3)  # more than there are
    np.testing.assert_allclose(shares(Sampling(top_p=0.6)), [1, 0, 0, 0])  # the best alone reaches it
    np.testing.assert_allclose(shares(Sampling(top_p=0.7)), [*softmax([2, 1]), 0, 0], atol=2e-3)
    np.testing.assert_allclose(shares(Sampling(top_p=0.9)), [*softmax([2, 1, 0]), 0], atol=2e-3)
    penalised = shares(Sampling(repetition_penalty=2.0), present=(True, False, False, True))
    np.testing.assert_allclose(penalised, softmax([1, 1, 0, -2]), atol=2e-3)


def test_the_ends_of_the_distribution_are_tokens_too():
    logits, nothing = np.float32([[-3, 0, 1]] * 2), np.zeros((2, 3), bool)
    drawn = choose(logits, nothing, np.float32([0.0, np.nextafter(np.float32(1), np.float32(0))]), Sampling())
    np.testing.assert_array_equal(drawn, [2, 0])


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"temperature": float("nan")}, {"top_k": -1}, {"top_p": 0},
                                   {"top_p": 1.1}, {"repetition_penalty": 0}, {"num_beams": 0}, {"length_penalty": -1},
                                   {"no_repeat_ngram_size": -1}])
def test_impossible_settings(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must be"):
        (Sampling if hasattr(Sampling, name) else Beams)(**wrong)


@pytest.mark.parametrize("sampling", [Sampling(temperature=1e30), Sampling(repetition_penalty=1e-30)])
def test_what_is_forbidden_never_comes(sampling):
    decoder, count = Markov(), 1000
    logits, state = decoder.start(np.full(count, 2))
    drawn = sample(decoder, logits, state, np.ones((count, V), bool), np.random.default_rng(0).random((count, 1), np.float32),
                   sampling, forbidden=np.arange(V) != 3, stop_id=STOP)
    assert (np.asarray(drawn) == 3).all()


def test_a_row_is_the_same_in_every_company_and_inside_a_graph():
    config = TransformerConfig(vocabulary_size=32, hidden_dim=16, num_layers=2, num_heads=2, intermediate_dim=24,
                               sequence_length=20)
    model = randomise(heads.causal_lm(gpt.backbone(config)))
    decoder = gpt.Decoder(model, window=20)
    beginnings = np.array([[2, 7, 8, 9], [0, 0, 2, 11], [0, 2, 30, 6]], np.int32)
    uniform = np.random.default_rng(0).random((3, 10)).astype(np.float32)
    forbidden, stop = np.arange(32) < 3, 3

    def draw(beginnings, uniform):
        logits, state = decoder.start(beginnings, room=10)
        present = ops.zeros((ops.shape(beginnings)[0], 32), "bool")
        return sample(decoder, logits, state, present, uniform, Sampling(temperature=0.7, top_p=0.9,
                      repetition_penalty=1.2), forbidden=forbidden, stop_id=stop)

    together = np.asarray(draw(beginnings, uniform))
    graph = tf.function(draw, [tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None, 10], tf.float32)])
    np.testing.assert_array_equal(graph(beginnings, uniform), together)
    for row in range(3):
        beginning = beginnings[row][beginnings[row] > 0]
        np.testing.assert_array_equal(graph(beginning[None], uniform[row : row + 1])[0], together[row])
    logits, state = decoder.start(beginnings, room=10)
    first, scores = beam_search(decoder, logits, state, 10, Beams(3, 1.0), forbidden=forbidden, stop_id=stop)
    for row in range(3):
        logits, state = decoder.start(beginnings[row][beginnings[row] > 0][None], room=10)
        alone, _ = beam_search(decoder, logits, state, 10, Beams(3, 1.0), forbidden=forbidden, stop_id=stop)
        np.testing.assert_array_equal(alone[0], first[row])
        for text, score in zip(np.asarray(first)[row], np.asarray(scores)[row]):  # what a pass over the whole row says
            whole = np.array([[*beginnings[row][beginnings[row] > 0], *cut(text)]])
            logits = model({"token_ids": whole, "segment_ids": np.ones_like(whole)}).numpy()[0, -len(cut(text)) - 1 : -1]
            log_probability = tf.nn.log_softmax(np.where(forbidden, -np.inf, logits)).numpy()
            total = log_probability[np.arange(len(cut(text))), cut(text)].sum()
            assert score == pytest.approx(total / ((5 + len(cut(text))) / 6), rel=1e-4)
