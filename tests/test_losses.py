"""The cross-entropy is that of float64, its gradient that of TensorFlow's own operation."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax

from models.losses import cross_entropy, mean_cross_entropy

RANDOM = np.random.default_rng(0)
LOGITS = {"usual": RANDOM.normal(size=(4, 6, 50)), "all alike": np.zeros((3, 7)), "two classes": RANDOM.normal(size=(9, 2)),
          "sure": 60 * RANDOM.normal(size=(8, 30)), "huge": 1e4 * RANDOM.normal(size=(8, 30)),
          "far from 0": 1e4 + RANDOM.normal(size=(5, 20)), "none": np.zeros((0, 5))}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", LOGITS)
def test_losses_and_gradients(kind, smoothing):
    logits = LOGITS[kind].astype(np.float32)
    labels = RANDOM.integers(0, logits.shape[-1], logits.shape[:-1]).astype(np.int32)
    targets = (1 - smoothing) * np.eye(logits.shape[-1])[labels] + smoothing / logits.shape[-1]
    log_probabilities = log_softmax(logits.astype(np.float64), axis=-1)
    upstream = RANDOM.normal(size=labels.shape)
    given = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(given)
        losses = cross_entropy(tf.constant(labels), given, smoothing)
    np.testing.assert_allclose(losses, -(targets * log_probabilities).sum(axis=-1), rtol=2e-6,
                               atol=1e-6 * max(1, np.abs(logits).max(initial=0)))
    np.testing.assert_allclose(tape.gradient(losses, given, tf.constant(upstream, tf.float32)),
                               (np.exp(log_probabilities) - targets) * upstream[..., None], atol=2e-6)


def test_a_graph_leaves_all_lengths_open():
    graph = tf.function(lambda labels, logits: cross_entropy(labels, logits, 0.1), [
        tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None, None, None], tf.float32)], autograph=False)
    for *shape, num_classes in ((2, 3, 5), (4, 1, 7)):
        np.testing.assert_allclose(graph(np.zeros(shape, np.int32), np.zeros((*shape, num_classes), np.float32)),
                                   np.full(shape, np.log(num_classes)), rtol=1e-6)


def test_the_mean_is_that_of_the_labels_that_count():
    labels, logits = np.array([0, 1, 2], np.int32), np.float32([[0, 0, 0], [5, 0, 0], [0, 0, np.log(2)]])
    assert float(mean_cross_entropy(labels, logits, np.float32([3, 0, 1]))) == pytest.approx(
        (3 * np.log(3) + np.log(2)) / 4)
    assert float(mean_cross_entropy(labels, logits, np.float32([0, 0, 0]))) == 0


def test_what_is_not_a_number_stays_so():
    assert np.isnan(cross_entropy(np.array([0], np.int32), np.float32([[np.nan, 0]])).numpy()).all()
    assert not np.isfinite(cross_entropy(np.array([0], np.int32), np.float32([[-np.inf, 0]])).numpy()).any()
