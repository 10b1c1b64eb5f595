"""The linear classifier against a dense one by scikit-learn, on features written out."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

from models.document_vectors import distinct_ngrams
from models.linear import INVERSE_REGULARISATION, LinearConfig, fit_linear, linear
from tests.test_document_vectors import some_batch

CONFIG = LinearConfig(vocabulary_size=40, num_classes=4, num_buckets=101)


def ngrams_of(batch):
    numbers = distinct_ngrams(batch["token_ids"], batch["segment_ids"], CONFIG).numpy()
    return [row[row >= 0] for row in numbers]


def dense_features(texts, labels, weights):
    """Presence × the square root of .1 + .9 × relative entropy (1 on average), each text at unit length."""
    present = np.zeros((len(texts), 141))
    for row, text in enumerate(texts):
        present[row, text] = 1
    classes = np.unique(labels)
    counts = np.stack([(present * weights[:, None])[labels == label].sum(axis=0) for label in classes], axis=1)
    lengths = present.sum(axis=1) * weights
    prior = np.array([lengths[labels == label].sum() for label in classes]) / lengths.sum()
    shares = (counts + prior) / (counts.sum(axis=1, keepdims=True) + 1)
    entropy = (shares * np.log(shares / prior)).sum(axis=1)
    information = np.sqrt(0.1 + 0.9 * entropy / np.average(entropy, weights=counts.sum(axis=1)))
    features = present * information
    return features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [(0, 2), (0, 1, 3)])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_solves_one_class_against_the_others(classes, weighted):
    random = np.random.default_rng(3)
    batch = some_batch(rows=60)
    labels, weights = random.choice(classes, 60), random.uniform(0.5, 2, 60) if weighted else np.ones(60)
    texts, model = ngrams_of(batch), linear(CONFIG)
    fit_linear(model, texts, labels, weights if weighted else None)
    features, scores = dense_features(texts, labels, weights), model(batch).numpy()
    for label in classes:
        fitted = LogisticRegression(C=INVERSE_REGULARISATION, solver="liblinear", max_iter=1000, tol=1e-8)
        fitted.fit(features, labels == label, weights)
        np.testing.assert_allclose(scores[:, label], fitted.predict_log_proba(features)[:, 1], atol=0.02)
    assert np.isin(scores.argmax(axis=1), classes).all() and scores[:, [n for n in range(4) if n not in classes]].max() < -20


def test_padding_and_repetition_change_nothing():
    batch = some_batch(rows=40)
    model = linear(CONFIG)
    fit_linear(model, ngrams_of(batch), np.arange(40) % 3)
    wider = {name: tf.pad(tensor, [[0, 0], [0, 7]]) for name, tensor in batch.items()}
    np.testing.assert_allclose(model(wider), model(batch), atol=1e-5)
    once, twice = ({"token_ids": tf.constant([ids]), "segment_ids": tf.ones((1, len(ids)), tf.int32)}
                   for ids in ([7, 7, 7], [7, 7, 7, 7, 7]))
    np.testing.assert_allclose(model(once), model(twice), atol=1e-6)
    empty = {name: tf.zeros_like(tensor) for name, tensor in batch.items()}
    bias = model.get_layer("bias").get_weights()[0]
    np.testing.assert_allclose(model(empty)[0], -np.log1p(np.exp(-bias)), atol=1e-5)


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="at least 1"):
        LinearConfig(40, 2, num_buckets=0)
