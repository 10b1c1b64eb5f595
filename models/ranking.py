"""Scores of items in, HR and NDCG out; and the two rankings that a recommender must beat, from who chose what."""

import numpy as np
from scipy import sparse
from sklearn.preprocessing import normalize


def places(scores, targets, excluded):
    """Where each target stands in its ranking.

    Args:
        scores: float (U, N).
        targets: int (U,), the item that was chosen.
        excluded: bool (U, N), True for items left out of the ranking, never the target.

    Returns:
        int (U,), items with a higher score; int (U,), items with an equal one, the target counted in.

    Raises:
        ValueError: scores that are not finite.
    """
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite. Received NaN or infinity: this model is broken, train again")
    own = scores[np.arange(len(targets)), targets][:, None]
    ranked = ~excluded
    return ((scores > own) & ranked).sum(axis=1), ((scores == own) & ranked).sum(axis=1)


def ranking_metrics(higher, equal, k=10):
    """HR@k and NDCG@k of rankings with one relevant item each (Järvelin & Kekäläinen 2002); equal scores stand in
    random order, of which this is the expectation.

    Args:
        higher, equal: int (U,) of `places`.

    Returns:
        {"hr": the share of targets among the first k, "ndcg": the mean of 1 / log2(1 + place), 0 beyond k}.
    """
    gains = {"hr": np.ones(k), "ndcg": 1 / np.log2(np.arange(k) + 2)}
    metrics = {}
    for name, gain in gains.items():
        upto = np.concatenate([[0.0], np.cumsum(gain)])  # the sum of the first n gains, of more than k that of k
        shared = upto[np.minimum(higher + equal, k)] - upto[np.minimum(higher, k)]
        metrics[name] = float(np.mean(shared / equal))
    return metrics


def choices(histories, num_items):
    """Lists of U arrays of items → sparse float32 (U, N), 1 for what was chosen."""
    users = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
    items = np.concatenate([*histories, np.zeros(0, np.int32)])
    return sparse.csr_matrix((np.ones(len(items), np.float32), (users, items)), (len(histories), num_items))


def popularity(training):
    """Sparse (U, N) → float (N,): how many users chose each item."""
    return np.asarray(training.sum(axis=0))[0]


def item_neighbours(features, num_neighbours):
    """How alike items are: the cosine of their columns, of each item's nearest neighbours alone (Sarwar et al. 2001).

    Args:
        features: sparse float (F, N), such as `choices` of the training: a user's row, an item's column.
        num_neighbours: K.

    Returns:
        sparse float (N, N): of item i in column i its K nearest others. `choices(histories) @` this gives the scores.
    """
    rows = normalize(features.T.tocsr().astype(np.float64))  # (N, F)
    kept = []
    for start in range(0, rows.shape[0], 1024):  # a dense block at a time
        block = (rows[start : start + 1024] @ rows.T).toarray()
        block[np.arange(len(block)), start + np.arange(len(block))] = 0.0
        if num_neighbours < block.shape[1]:
            least = -np.partition(-block, num_neighbours - 1, axis=1)[:, num_neighbours - 1]
            block[block < least[:, None]] = 0.0
        kept.append(sparse.csr_matrix(block))
    return sparse.vstack(kept).T.tocsr()
