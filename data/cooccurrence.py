"""Packed rows in, a vector for every token out: which tokens stand near which, counted and factorised in seconds.

The matrix of positive pointwise mutual information, reduced by a truncated singular value decomposition, is what
word2vec approaches in many passes (Levy & Goldberg 2014, "Neural Word Embedding as Implicit Matrix Factorization").
Window, smoothing and the root of the singular values follow Levy, Goldberg & Dagan 2015 (TACL 3, sections 3 and 7).
"""

import numpy as np

from data.tokenizer import CLS, SPECIAL_TOKENS

WINDOW = 5  # tokens on either side; one at distance d counts 1 - (d - 1) / WINDOW
SMOOTHING = 0.75  # exponent of the contexts' counts: rare contexts say less than their mutual information
MOST_TOKENS = 10_000_000  # of a larger corpus rows are taken evenly: more would change little and take time
MOST_CELLS = 2**25  # of the matrix, four bytes each
CHUNK = 2**14  # rows counted at once
OVERSAMPLING, POWER_ITERATIONS = 16, 3


def token_vectors(rows, vocabulary_size, dim, seed=0, progress=None):
    """Vectors in which tokens of like neighbours are near.

    Args:
        rows: int (R, L), packed documents.
        vocabulary_size: V.
        dim: D, at most V.
        seed: of the random projection.
        progress: called with the number of rows done.

    Returns:
        np.float32 (V, D), of root mean square 1 over the tokens that have neighbours; zeros for the others.
    """
    step = -(-rows.size // MOST_TOKENS)
    counts = _count(rows[::step], vocabulary_size, lambda n: progress(n * step) if progress else None)
    vectors = _factorise(_mutual_information(counts), dim, np.random.default_rng(seed))
    used = counts.any(axis=1)
    vectors[~used] = 0.0  # exactly
    return vectors / np.sqrt(np.mean(vectors[used] ** 2)) if used.any() else vectors


def _count(rows, vocabulary_size, progress):
    """How often each token stands near each of the most frequent ones, nearer counting more: float32 (V, C)."""
    frequency = sum(np.bincount(np.ravel(rows[start : start + CHUNK]), minlength=vocabulary_size)
                    for start in range(0, len(rows), CHUNK))
    frequency[: len(SPECIAL_TOKENS)] = 0
    contexts = np.argsort(-frequency, kind="stable")[: max(1, MOST_CELLS // vocabulary_size)]
    column = np.full(vocabulary_size, -1, np.int64)
    column[contexts] = np.arange(len(contexts))
    column[frequency == 0] = -1
    counts = np.zeros(vocabulary_size * len(contexts), np.float32)
    for start in range(0, len(rows), CHUNK):
        chunk = np.asarray(rows[start : start + CHUNK], np.int64)
        document = 1 + np.cumsum(chunk == CLS, axis=1)  # a row may begin inside a document
        document[chunk < len(SPECIAL_TOKENS)] = 0
        for distance in range(1, min(WINDOW, rows.shape[1] - 1) + 1):
            same = (document[:, distance:] == document[:, :-distance]) & (document[:, distance:] > 0)
            before, after = chunk[:, :-distance][same], chunk[:, distance:][same]
            for token, context in ((before, column[after]), (after, column[before])):
                counted = context >= 0
                np.add.at(counts, token[counted] * len(contexts) + context[counted],
                          np.float32(1 - (distance - 1) / WINDOW))
        progress(len(chunk))
    return counts.reshape(vocabulary_size, len(contexts))


def _mutual_information(counts):
    """Positive pointwise mutual information: max(0, ln P(token, context) / (P(token) · P(context))), float32 (V, C)."""
    of_token = counts.sum(axis=1, keepdims=True, dtype=np.float64)
    of_context = counts.sum(axis=0, keepdims=True, dtype=np.float64) ** SMOOTHING
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.log(counts * np.float32(of_context.sum()) / of_token.astype(np.float32)
                             / of_context.astype(np.float32))
    return np.maximum(np.nan_to_num(information, nan=0.0, neginf=0.0), 0.0)


def _factorise(matrix, dim, random):
    """U · √S of the `dim` largest singular values (Halko, Martinsson & Tropp 2011, algorithm 4.4): float32 (V, dim)."""
    projected = matrix @ random.standard_normal((matrix.shape[1], dim + OVERSAMPLING), dtype=np.float32)
    for _ in range(POWER_ITERATIONS):
        projected = matrix @ np.linalg.qr(matrix.T @ np.linalg.qr(projected)[0])[0]
    basis = np.linalg.qr(projected)[0]  # (V, dim + OVERSAMPLING)
    left, singular_values, _ = np.linalg.svd(basis.T @ matrix, full_matrices=False)
    vectors = np.zeros((len(matrix), dim), np.float32)  # a small vocabulary has fewer than `dim` directions
    found = min(dim, len(singular_values))
    vectors[:, :found] = basis @ (left[:, :found] * np.sqrt(singular_values[:found]))
    return vectors
