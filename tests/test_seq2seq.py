"""An encoder–decoder: what may see what, token by token against a whole row, and it learns to turn texts around."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import bert, seq2seq
from models.config import TransformerConfig
from models.generation import Beams, beam_search
from models.precision import computing_in
from tests.test_models import documents, randomise, rows

CONFIG = TransformerConfig(vocabulary_size=32, hidden_dim=16, num_layers=2, num_heads=2, intermediate_dim=24,
                           sequence_length=20)
START, STOP = 2, 3


def build(config=CONFIG):
    return seq2seq.encoder_decoder(bert.backbone(config), config)


@pytest.fixture(scope="module")
def model():
    return randomise(build())


def pairs(sources, targets):
    """Lists of documents, one list a row, as model inputs."""
    source, target = rows(sources), rows(targets)
    return {**source, "target_ids": target["token_ids"], "target_segment_ids": target["segment_ids"]}


def changed(batch, name, row, place):
    ids = batch[name].copy()
    ids[row, place] = 5 + (ids[row, place] - 4) % 27
    return {**batch, name: ids}


def test_shapes(model):
    logits = model(pairs([documents([9, 8])], [documents([5, 12])]))
    assert logits.shape == (1, 20, 32) and logits.dtype == tf.float32


def test_sources_targets_and_logits_have_one_matrix():
    model = build(dataclasses.replace(CONFIG, vocabulary_size=37))
    assert [weight.shape for weight in model.weights if 37 in weight.shape] == [(37, 16), (37,)]


def test_a_target_sees_all_of_its_source_and_nothing_that_follows(model):
    batch = pairs([documents([9, 8])], [documents([5, 12], seed=3)])
    before = model(batch).numpy()[0]
    for place in range(17):
        after = model(changed(batch, "token_ids", 0, place)).numpy()[0]
        differs = np.abs(after - before).max(axis=1) > 1e-4
        assert differs[:5].all() == (place < 9) and differs[5:17].all() == (place >= 9)
        assert differs[:5].any() == (place < 9) and differs[5:17].any() == (place >= 9)
    for place in range(1, 17):
        after = model(changed(batch, "target_ids", 0, place)).numpy()[0]
        end = 5 if place < 5 else 17
        np.testing.assert_allclose(after[:place], before[:place], atol=1e-6)
        np.testing.assert_allclose(after[end:17], before[end:17], atol=1e-6)
        assert np.abs(after[place] - before[place]).max() > 1e-3


def test_pairs_in_one_row_give_what_each_gives_alone(model):
    sources, targets = documents([9, 8]), documents([5, 12], seed=3)
    together = model(pairs([sources], [targets])).numpy()[0]
    alone = model(pairs([[source] for source in sources], [[target] for target in targets])).numpy()
    np.testing.assert_allclose(together[:5], alone[0, :5], atol=1e-5)
    np.testing.assert_allclose(together[5:17], alone[1, :12], atol=1e-5)


def test_token_by_token_it_gives_the_logits_of_a_whole_row(model):
    sources, (first, second) = documents([20, 7]), documents([14, 14], seed=3)
    whole = model(pairs([[source] for source in sources], [[first], [second]])).numpy()
    token_ids = rows([[source] for source in sources])["token_ids"]
    on_the_left = token_ids.copy()
    on_the_left[1] = np.roll(token_ids[1], 13)
    decoder = seq2seq.Decoder(model, START)
    for given in (token_ids, on_the_left):
        logits, state = decoder.start(tf.constant(given), room=13)
        step = tf.function(decoder.step)
        for number in range(13):
            np.testing.assert_allclose(logits, whole[:, number], atol=1e-4)
            logits, state = step(state, tf.constant([first[1 + number], second[1 + number]]))
        np.testing.assert_allclose(logits, whole[:, 13], atol=1e-4)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_it_writes_in_half_precision(model, precision):
    with computing_in(precision):
        short = build()
    short.set_weights(model.get_weights())
    found = []
    for one in (model, short):
        decoder = seq2seq.Decoder(one, START)
        logits, state = decoder.start(tf.constant(rows([documents([9])])["token_ids"]), room=6)
        found.append((logits, *beam_search(decoder, logits, state, 6, Beams(3, 1.0), forbidden=np.arange(32) < 3,
                                           stop_id=STOP)))
    assert found[1][0].dtype == tf.float32
    np.testing.assert_allclose(found[1][0], found[0][0], atol=0.3)
    np.testing.assert_allclose(found[1][2], found[0][2], atol=0.3)


def test_it_learns_to_turn_texts_around():
    keras.utils.set_random_seed(0)
    model = build(TransformerConfig(vocabulary_size=16, hidden_dim=32, num_layers=2, num_heads=2, intermediate_dim=64,
                                    sequence_length=8))
    random = np.random.default_rng(0)

    def batch(count):
        texts = [random.integers(5, 16, random.integers(1, 7)).tolist() for _ in range(count)]
        inputs = pairs([[text] for text in texts], [[[START, *text[::-1]]] for text in texts])
        labels = np.zeros((count, 20), np.int32)
        for row, text in enumerate(texts):
            labels[row, : len(text) + 1] = [*text[::-1], STOP]
        return texts, inputs, labels

    _, inputs, labels = batch(4096)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    model.compile(keras.optimizers.Adam(5e-3), loss, jit_compile=False)
    history = model.fit(inputs, labels, sample_weight=np.float32(labels > 0), batch_size=64, epochs=8, verbose=0)
    assert history.history["loss"][-1] < 0.05
    texts, inputs, _ = batch(50)
    decoder = seq2seq.Decoder(model, START)
    logits, state = decoder.start(tf.constant(inputs["token_ids"]), room=9)
    found, _ = beam_search(decoder, logits, state, 9, Beams(3, 1.0), forbidden=np.isin(np.arange(16), [0, 1, 2, 4]),
                           stop_id=STOP)
    found = [row[(row != 0) & (row != STOP)].tolist() for row in found.numpy()[:, 0]]
    assert sum(one == text[::-1] for one, text in zip(found, texts)) >= 48
