"""Facts about the words of a text in, the chance that a summary or a headline has them out: a logistic regression.

Its features are indicators: of the word itself, if it is frequent enough to be known, and of every pair of the facts in
bins. It is a convex problem without a learning rate, as that of models/linear.py.
"""

import dataclasses
import itertools

import keras
import numpy as np
from keras import ops

from models.baseline import RowEmbedding
from models.layers import Bias

INVERSE_REGULARISATION = 0.3  # scikit-learn's C
FEWEST_TEXTS = 5  # that a word stands in, to have a weight of its own


def _half_octaves(first, last):
    """first, 1.5 first, 2 first, 3 first … last: whole numbers, so that no rounding decides between two bins."""
    steps = [first * factor << octave for octave in range(24) for factor in (2, 3)]
    return np.array(sorted({step // 2 for step in steps if step <= 2 * last}))


# Of each fact, where its bins but the first begin.
BINS = {
    "occurrence": np.array([2, 3, 4, 6]),
    "position": _half_octaves(1, 1024),
    "sentence": _half_octaves(1, 32),
    "count": _half_octaves(2, 16),
    "form": np.array([1, 2, 3]),
    "length": _half_octaves(16, 4096),
}
FREQUENCY_BINS = _half_octaves(2, 1 << 17)  # 0 and 1 alike: in training, a text has counted its own words


@dataclasses.dataclass(frozen=True)
class ExtractorConfig:
    """A logistic regression on the facts of words.

    Attributes:
        num_buckets: that words fall into.
    """

    num_buckets: int

    def __post_init__(self):
        if self.num_buckets < 1:
            raise ValueError(f"num_buckets must be at least 1. Received: {self.num_buckets}")


def extractor(config):
    """Facts of words → the logits of their chances.

    Args:
        config: `ExtractorConfig`.

    Returns:
        `keras.Model`: {"bucket" and the names of `BINS`: int32 (N,)} → float32 (N,).
    """
    facts = {name: keras.Input((), dtype="int32", name=name) for name in ("bucket", *BINS)}
    frequency = RowEmbedding(config.num_buckets, 1, embeddings_initializer="zeros", trainable=False,
                             name="document_frequency")(facts["bucket"])[:, 0]
    bins = [(ops.digitize(facts[name], edges), len(edges) + 1) for name, edges in BINS.items()]
    bins.append((ops.digitize(frequency, FREQUENCY_BINS), len(FREQUENCY_BINS) + 1))
    rows = [ops.where(frequency >= FEWEST_TEXTS, facts["bucket"], config.num_buckets)]
    num_rows = config.num_buckets + 1
    for (first, num_first), (second, num_second) in itertools.combinations(bins, 2):
        rows.append(num_rows + first * num_second + second)
        num_rows += num_first * num_second
    rows = keras.layers.Identity(name="rows")(ops.stack(rows, axis=1))  # (N, F)
    weights = RowEmbedding(num_rows, 1, embeddings_initializer="zeros", name="weights")(rows)[:, :, 0]  # (N, F)
    logits = Bias(name="bias")(ops.sum(weights, axis=1, keepdims=True))[:, 0]
    return keras.Model(facts, logits, name="extractor")


def fit_extractor(model, facts, in_target):
    """Puts the solution into a model.

    Args:
        model: `extractor(config)`.
        facts: dict of np.int32 (N,), as the model takes them; "occurrence" is 1 once for each word of a text.
        in_target: bool (N,), the target has the word so often.

    Raises:
        ValueError: no word of a text stands in its target, or every one.
    """
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression

    if in_target.all() or not in_target.any():
        raise ValueError("targets must share some words with their texts, not all. Received: "
                         f"{'all' if len(in_target) and in_target.all() else 'none'} of {len(in_target):,} are shared")
    frequency = model.get_layer("document_frequency")
    frequency.set_weights([np.bincount(facts["bucket"][facts["occurrence"] == 1],
                                       minlength=frequency.input_dim)[:, None]])
    rows = np.asarray(keras.Model(model.input, model.get_layer("rows").output)(facts))
    weights = model.get_layer("weights")
    ones, ends = np.ones(rows.size, np.float32), np.arange(0, rows.size + 1, rows.shape[1])
    features = sparse.csr_matrix((ones, rows.reshape(-1), ends), (len(rows), weights.input_dim))
    fitted = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000).fit(features, in_target)
    weights.set_weights([fitted.coef_[0][:, None]])
    model.get_layer("bias").set_weights([fitted.intercept_])
