"""Counts, mutual information and factors against the definitions; tokens of like neighbours come out alike."""

import math

import numpy as np
import pytest

from data import cooccurrence
from data.cooccurrence import token_vectors
from data.tokenizer import CLS, PAD, SEP

A, B, C, D = 5, 6, 7, 8


def counted(rows, vocabulary_size=9):
    return cooccurrence._count(np.array(rows, np.uint16), vocabulary_size, lambda n: None)


def test_near_neighbours_of_the_same_document_count():
    # By frequency the contexts are A (4), then B, C and D (1 each).
    counts = counted([[CLS, A, A, B, A, SEP, CLS, C, SEP, CLS, A, D, SEP, PAD]])
    near, next_but_one, third = 1.0, 0.8, 0.6
    expected = {(A, 0): 2 * near + 2 * next_but_one + 2 * third, (A, 1): 2 * near + next_but_one, (A, 3): near,
                (B, 0): 2 * near + next_but_one, (D, 0): near}
    for (token, context), count in expected.items():
        assert counts[token, context] == pytest.approx(count)
    assert counts.sum() == pytest.approx(sum(expected.values()))


def test_a_row_may_begin_inside_a_document():
    inside, whole = counted([[A, B, SEP, CLS, A, SEP]]), counted([[CLS, A, B, SEP, CLS, A]])
    np.testing.assert_array_equal(inside, whole)
    assert inside.sum() == 2  # A beside B and B beside A


def test_chunks_and_rows_left_out_change_nothing_but_the_sum(monkeypatch):
    random = np.random.default_rng(0)
    rows = random.integers(5, 30, (100, 12))
    rows[:, 0] = CLS
    whole = counted(rows, 30)
    monkeypatch.setattr(cooccurrence, "CHUNK", 7)
    np.testing.assert_allclose(counted(rows, 30), whole, rtol=1e-5)
    monkeypatch.setattr(cooccurrence, "MOST_TOKENS", 600)
    done = []
    half = token_vectors(rows, 30, 4, progress=done.append)
    np.testing.assert_array_equal(half, token_vectors(rows[::2], 30, 4))
    assert sum(done) == 100


def test_mutual_information_by_hand():
    counts = np.array([[0, 0], [3, 1], [1, 3]], np.float32)
    # Both contexts are equally frequent, so the smoothing changes nothing: P(t, c) = 3/8, P(t) = P(c) = 1/2.
    high, low = math.log(3 / 8 / 0.25), 0.0  # ln(1/8 / (1/4)) is negative
    np.testing.assert_allclose(cooccurrence._mutual_information(counts), [[0, 0], [high, low], [low, high]], atol=1e-6)
    smoothed = cooccurrence._mutual_information(np.array([[1, 1], [1, 0]], np.float32))
    contexts = np.array([2, 1]) ** 0.75
    assert smoothed[0, 1] == pytest.approx(math.log((1 / 2) / (contexts[1] / contexts.sum())), rel=1e-5)


def test_factors_are_those_of_numpy():
    random = np.random.default_rng(0)
    matrix = (random.normal(size=(60, 8)) @ random.normal(size=(8, 40))).astype(np.float32)
    vectors = cooccurrence._factorise(matrix, 8, np.random.default_rng(1))
    left, singular_values, _ = np.linalg.svd(matrix.astype(np.float64))
    expected = left[:, :8] * np.sqrt(singular_values[:8])
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, rtol=1e-3, atol=1e-3)


def test_tokens_of_like_neighbours_are_near():
    random = np.random.default_rng(0)
    groups = np.arange(10, 30), np.arange(30, 50)  # a document keeps to one group
    rows = np.stack([np.concatenate([[CLS], random.choice(groups[n % 2], 14), [SEP]]) for n in range(400)])
    vectors = token_vectors(rows, 60, 4)
    assert vectors.dtype == np.float32 and not vectors[:10].any() and not vectors[50:].any()
    assert np.mean(vectors[10:50] ** 2) == pytest.approx(1.0, rel=1e-5)
    unit = vectors[10:50] / np.linalg.norm(vectors[10:50], axis=1, keepdims=True)
    likeness = unit @ unit.T
    assert likeness[:20, :20].min() > 0.5 > 0.2 > likeness[:20, 20:].max()
    np.testing.assert_array_equal(vectors, token_vectors(rows, 60, 4))


def test_a_corpus_without_neighbours_gives_zeros():
    assert not token_vectors(np.array([[CLS, A, SEP], [CLS, B, SEP]]), 9, 4).any()


def test_more_dimensions_than_contexts():
    vectors = token_vectors(np.array([[CLS, A, B, C, D, SEP]]), 9, 128)
    assert vectors.shape == (9, 128) and np.isfinite(vectors).all() and vectors.any()
