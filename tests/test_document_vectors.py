"""Document vectors against dense linear algebra and sets; their classes against scikit-learn."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

from data.document_vectors import FEWEST_TEXTS, ngram_vectors
from models.document_vectors import (INVERSE_REGULARISATION, DocumentVectorsConfig, classes_of_vectors,
                                     distinct_ngrams, document_vectors)

CONFIG = DocumentVectorsConfig(vocabulary_size=40, num_classes=3, num_buckets=101, dim=4)


def some_texts(count=90, num_ngrams=31, seed=0):
    """Texts of five subjects, each with six n-grams of its own; the last n-gram stands in one text alone."""
    random = np.random.default_rng(seed)
    texts = [np.union1d(6 * subject + random.choice(6, 5, replace=False), random.choice(30, 2))
             for subject in random.integers(0, 5, count)]
    return [*texts, np.array([num_ngrams - 1])]


def some_batch(seed=0, rows=5, length=12):
    random = np.random.default_rng(seed)
    segment_ids = (np.arange(length)[None] < random.integers(1, length + 1, rows)[:, None]).astype(np.int32)
    token_ids = random.integers(5, 12, (rows, length)) * segment_ids
    return {"token_ids": tf.constant(token_ids, tf.int32), "segment_ids": tf.constant(segment_ids)}


def test_the_vectors_span_the_leading_directions_of_mutual_information():
    texts, num_ngrams, dim = some_texts(), 31, 5
    counts = np.zeros((len(texts), num_ngrams))
    for row, text in enumerate(texts):
        counts[row, text] = 1
    total = counts.sum()
    joint, of_text, of_ngram = counts / total, counts.sum(1, keepdims=True) / total, counts.sum(0, keepdims=True) / total
    with np.errstate(divide="ignore"):
        information = np.maximum(np.log(joint / (of_text * of_ngram)), 0)
    information[:, counts.sum(axis=0) < FEWEST_TEXTS] = 0
    norms = np.linalg.norm(information, axis=1, keepdims=True)
    directions = np.linalg.svd(information / np.where(norms, norms, 1))[2][:dim]
    vectors, of_ngrams = ngram_vectors(texts, num_ngrams, dim)
    np.testing.assert_allclose(vectors @ vectors.T, directions.T @ directions, atol=1e-3)
    np.testing.assert_allclose(of_ngrams[:-1], -np.log(of_ngram[0, :-1]), rtol=1e-5)
    assert of_ngrams[-1] == 0 and not vectors[-1].any()
    assert vectors.dtype == of_ngrams.dtype == np.float32
    np.testing.assert_array_equal(vectors, ngram_vectors(texts, num_ngrams, dim)[0])


def test_ngrams_of_a_text_are_those_of_its_set():
    batch = some_batch()
    numbers = distinct_ngrams(batch["token_ids"], batch["segment_ids"], CONFIG).numpy()
    for row, ids, segments in zip(numbers, batch["token_ids"].numpy(), batch["segment_ids"].numpy()):
        wanted, before = set(), 0
        for token in ids[segments > 0].tolist():
            wrapped = (token * -1640531527 + before + 2**31) % 2**32 - 2**31
            wanted |= {token, CONFIG.vocabulary_size + wrapped % CONFIG.num_buckets}
            before = token
        found = row[row >= 0].tolist()
        assert found == sorted(wanted)  # sorted, and each once


def test_a_text_is_the_unit_sum_of_its_ngrams():
    model, random = document_vectors(CONFIG), np.random.default_rng(1)
    num_ngrams = CONFIG.vocabulary_size + CONFIG.num_buckets
    vectors = random.normal(size=(num_ngrams, 4)).astype(np.float32)
    information = random.uniform(0, 6, num_ngrams).astype(np.float32)
    kernel, bias = random.normal(size=(4, 3)), random.normal(size=3)
    model.get_layer("ngram_vectors").set_weights([vectors])
    model.get_layer("ngram_information").set_weights([information[:, None]])
    model.get_layer("classes").set_weights([kernel, bias])
    batch = some_batch()
    numbers = distinct_ngrams(batch["token_ids"], batch["segment_ids"], CONFIG).numpy()
    for row, logits in zip(numbers, model(batch).numpy()):
        row = row[row >= 0]
        weights = np.maximum(information[row].astype(np.float64) - np.log(len(row)), 0)
        summed = weights @ vectors[row]
        np.testing.assert_allclose(logits, summed / np.linalg.norm(summed) @ kernel + bias, atol=1e-4)
    wider = {name: tf.pad(tensor, [[0, 0], [0, 7]]) for name, tensor in batch.items()}
    np.testing.assert_allclose(model(wider), model(batch), atol=1e-5)  # padding changes nothing
    empty = {name: tf.zeros_like(tensor) for name, tensor in batch.items()}
    np.testing.assert_allclose(model(empty), np.broadcast_to(bias, (5, 3)), atol=1e-5)
    assert [variable.path.split("/")[0] for variable in model.trainable_variables] == ["classes", "classes"]


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 2], [0, 2]])
def test_classes_are_scikit_learns(labels):
    random = np.random.default_rng(2)
    vectors, labels = random.normal(size=(50, 4)), random.choice(labels, 50)
    kernel, bias = classes_of_vectors(vectors, labels, 3)
    logits = vectors @ kernel + bias
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    fitted = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000).fit(vectors, labels)
    np.testing.assert_allclose(probabilities[:, fitted.classes_], fitted.predict_proba(vectors), atol=1e-3)


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="at least 1"):
        DocumentVectorsConfig(40, 2, num_buckets=0)
