"""No position sees the future, and token by token a decoder gives what it gives for a whole row."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import gpt, heads
from models.config import TransformerConfig
from tests.test_models import documents, randomise, rows

CONFIG = TransformerConfig(vocabulary_size=32, hidden_dim=16, num_layers=2, num_heads=2, intermediate_dim=24,
                           sequence_length=20)


@pytest.fixture(scope="module")
def model():
    return randomise(heads.causal_lm(gpt.backbone(CONFIG)))


def test_shapes(model):
    logits = model(rows([documents([9, 8])]))
    assert logits.shape == (1, 20, 32) and logits.dtype == tf.float32


def test_tokens_and_logits_have_one_matrix():
    model = heads.causal_lm(gpt.backbone(dataclasses.replace(CONFIG, vocabulary_size=37)))
    assert [weight.shape for weight in model.weights if 37 in weight.shape] == [(37, 16), (37,)]


def test_no_position_sees_the_future(model):
    batch = rows([documents([20])])
    before = model(batch).numpy()[0]
    for place in range(1, 20):
        changed = {**batch, "token_ids": batch["token_ids"].copy()}
        changed["token_ids"][0, place] = 5 + (changed["token_ids"][0, place] - 4) % 27
        after = model(changed).numpy()[0]
        np.testing.assert_allclose(after[:place], before[:place], atol=1e-6)
        assert np.abs(after[place] - before[place]).max() > 1e-3


def test_the_cache_gives_the_logits_of_a_whole_row(model):
    segments = documents([20, 14])
    whole = model(rows([[segment] for segment in segments])).numpy()
    decoder = gpt.Decoder(model, window=20)
    begun = np.zeros((2, 8), np.int32)  # of the second row two tokens, padded on the left
    begun[0], begun[1, 6:] = segments[0][:8], segments[1][:2]
    logits, state = decoder.start(begun, room=12)
    step = tf.function(decoder.step)
    for number in range(12):
        np.testing.assert_allclose(logits[0], whole[0, 7 + number], atol=1e-4)
        np.testing.assert_allclose(logits[1], whole[1, 1 + number], atol=1e-4)
        logits, state = step(state, tf.constant([segments[0][8 + number], segments[1][2 + number]]))
    np.testing.assert_allclose(logits[0], whole[0, 19], atol=1e-4)


def test_it_learns_a_batch_by_heart():
    model = heads.causal_lm(gpt.backbone(CONFIG))
    batch = rows([documents([10, 9]), documents([20], seed=1)])
    following = np.roll(batch["token_ids"], -1, axis=1)
    inside = (np.roll(batch["segment_ids"], -1, axis=1) == batch["segment_ids"]) & (batch["segment_ids"] > 0)
    inside[:, -1] = False
    keras.utils.set_random_seed(0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    model.compile(keras.optimizers.Adam(1e-2), loss, jit_compile=False)
    history = model.fit(batch, following, sample_weight=inside.astype(np.float32), epochs=150, verbose=0)
    assert history.history["loss"][0] == pytest.approx(np.log(32), rel=0.02)
    assert history.history["loss"][-1] < 0.3  # two first tokens after one [CLS] cannot be told apart
