"""A linear classifier of n-grams: which stand in a text, each by how much it says about the class at all.

NB-SVM (Wang & Manning 2012, "Baselines and Bigrams", section 2.3) for any number of classes, on the same hashed n-grams as
the baseline: a convex problem without a learning rate, solved in seconds, and of long texts the strongest simple model.
"""

import dataclasses

import keras
import numpy as np
from keras import ops

from models.bag_trainer import row_rates
from models.baseline import RowEmbedding
from models.document_vectors import distinct_ngrams
from models.layers import Bias

INVERSE_REGULARISATION = 10.0  # scikit-learn's C: benchmarks/findings.md
IMPOSSIBLE = -30.0  # the score of a class without examples


@dataclasses.dataclass(frozen=True)
class LinearConfig:
    """A linear classifier of n-grams.

    Attributes:
        vocabulary_size: V, number of token ids.
        num_classes: C.
        num_buckets: rows that hashed pairs of tokens share.
    """

    vocabulary_size: int
    num_classes: int
    num_buckets: int

    def __post_init__(self):
        if min(self.vocabulary_size, self.num_classes, self.num_buckets) < 1:
            raise ValueError(f"sizes of a linear classifier must be at least 1. Received: {self}")


def linear(config):
    """Distinct n-grams → each by its information, at unit length → the scores of the classes.

    Args:
        config: `LinearConfig`.

    Returns:
        `keras.Model`: {"token_ids", "segment_ids": int32 (B, L), 0 = padding} → float32 (B, C), the logarithm of the
        probability that each class has against all others.
    """
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    segment_ids = keras.Input((None,), dtype="int32", name="segment_ids")
    numbers = distinct_ngrams(token_ids, segment_ids, config)  # (B, N)
    rows, num_ngrams = ops.maximum(numbers, 0), config.vocabulary_size + config.num_buckets
    information = RowEmbedding(num_ngrams, 1, embeddings_initializer="zeros", trainable=False,
                               name="ngram_information")(rows)[:, :, 0]  # (B, N)
    scores = RowEmbedding(num_ngrams, config.num_classes, embeddings_initializer="zeros", trainable=False,
                          name="ngram_scores")(rows)  # (B, N, C)
    weights = keras.layers.UnitNormalization(name="features")(information * ops.cast(numbers >= 0, "float32"))
    summed = Bias(dtype="float32", name="bias")(ops.matmul(weights[:, None], scores)[:, 0])  # (B, C)
    return keras.Model({"token_ids": token_ids, "segment_ids": segment_ids}, ops.log_sigmoid(summed), name="linear")


def fit_linear(model, texts, labels, sample_weight=None):
    """Puts the solution into a model: logistic regressions, each class against the others.

    Args:
        model: `linear(config)`.
        texts: list of int (n,), the distinct n-grams of each text.
        labels: int (N,).
        sample_weight: float (N,), or None for 1 each.
    """
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import normalize

    num_ngrams, num_classes = model.get_layer("ngram_scores").embeddings.shape
    lengths, numbers = [len(text) for text in texts], np.concatenate(texts)
    weight = np.ones(len(labels)) if sample_weight is None else sample_weight
    rates, = row_rates([numbers], np.repeat(labels, lengths), np.repeat(weight, lengths), [num_ngrams])
    information = np.sqrt(rates)
    places = np.concatenate([[0], np.cumsum(lengths)])
    features = normalize(sparse.csr_matrix((information[numbers], numbers, places), (len(texts), num_ngrams)))
    scores, bias = np.zeros((num_ngrams, num_classes), np.float32), np.full(num_classes, IMPOSSIBLE, np.float32)
    present = np.unique(labels)
    for label in present[1 if len(present) == 2 else 0 :]:  # of two classes each is the other's contrary
        fitted = LogisticRegression(C=INVERSE_REGULARISATION, solver="liblinear", max_iter=1000)
        fitted.fit(features, labels == label, sample_weight)
        scores[:, label], bias[label] = fitted.coef_[0], fitted.intercept_[0]
    if len(present) == 2:
        scores[:, present[0]], bias[present[0]] = -scores[:, present[1]], -bias[present[1]]
    model.get_layer("ngram_information").set_weights([information[:, None]])
    model.get_layer("ngram_scores").set_weights([scores])
    model.get_layer("bias").set_weights([bias])
