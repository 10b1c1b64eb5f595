"""A linear classifier of document vectors: what stands in a text, in the directions in which texts differ most.

The vectors of the n-grams come from texts without labels (`data.document_vectors.ngram_vectors`); labels are needed
for one small matrix alone.
"""

import dataclasses

import keras
import numpy as np
from keras import ops

from models.baseline import BaselineConfig, RowEmbedding, table_rows

INVERSE_REGULARISATION = 3.0  # scikit-learn's C; on 100 to 1,000 labels of IMDB 1, 3 and 10 differ by .005 at most


@dataclasses.dataclass(frozen=True)
class DocumentVectorsConfig:
    """Document vectors with their classes.

    Attributes:
        vocabulary_size: V, number of token ids.
        num_classes: C.
        num_buckets: rows that hashed pairs of tokens share.
        dim: D, numbers of a document vector.
    """

    vocabulary_size: int
    num_classes: int
    num_buckets: int = 200_000
    dim: int = 64

    def __post_init__(self):
        if min(self.vocabulary_size, self.num_classes, self.num_buckets, self.dim) < 1:
            raise ValueError(f"sizes of document vectors must be at least 1. Received: {self}")


def distinct_ngrams(token_ids, segment_ids, config):
    """The numbers of the tokens and pairs of tokens of each text, each number once.

    Args:
        token_ids, segment_ids: int32 (B, L), 0 = padding.
        config: `DocumentVectorsConfig`.

    Returns:
        int32 (B, 2 L) in ascending order, in [0, V + num_buckets); -1 for repeated ones and padding.
    """
    tables = BaselineConfig(config.vocabulary_size, config.num_classes, num_buckets=config.num_buckets)
    tokens, pairs = table_rows(token_ids, tables)
    numbers = ops.concatenate([tokens, config.vocabulary_size + pairs], axis=1)
    real = ops.not_equal(segment_ids, 0)
    numbers = ops.sort(ops.where(ops.concatenate([real, real], axis=1), numbers, -1), axis=1)
    before = ops.pad(numbers, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
    return ops.where(ops.equal(numbers, before), -1, numbers)


def document_vectors(config):
    """Distinct n-grams → the sum of their vectors, each by its information in this text, at unit length → Dense.

    Args:
        config: `DocumentVectorsConfig`.

    Returns:
        `keras.Model`: {"token_ids", "segment_ids": int32 (B, L), 0 = padding} → float32 logits (B, C). Its layer
        "document_vector" has the vectors, float32 (B, D).
    """
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    segment_ids = keras.Input((None,), dtype="int32", name="segment_ids")
    numbers = distinct_ngrams(token_ids, segment_ids, config)  # (B, N)
    present = ops.cast(numbers >= 0, "float32")
    rows = ops.maximum(numbers, 0)
    num_ngrams = config.vocabulary_size + config.num_buckets
    vectors = RowEmbedding(num_ngrams, config.dim, embeddings_initializer="zeros", trainable=False,
                           name="ngram_vectors")(rows)  # (B, N, D)
    information = RowEmbedding(num_ngrams, 1, embeddings_initializer="zeros", trainable=False,
                               name="ngram_information")(rows)[:, :, 0]  # (B, N)
    length = ops.sum(present, axis=1, keepdims=True)
    weights = present * ops.relu(information - ops.log(ops.maximum(length, 1.0)))
    summed = ops.matmul(weights[:, None], vectors)[:, 0]  # (B, D)
    unit = keras.layers.UnitNormalization(name="document_vector")(summed)
    logits = keras.layers.Dense(config.num_classes, dtype="float32", name="classes")(unit)
    return keras.Model({"token_ids": token_ids, "segment_ids": segment_ids}, logits, name="document_vectors")


def classes_of_vectors(vectors, labels, num_classes, sample_weight=None):
    """Multinomial logistic regression, as the weights of the layer "classes".

    Args:
        vectors: float (N, D).
        labels: int (N,).
        num_classes: C.
        sample_weight: float (N,), or None for 1 each.

    Returns:
        [float32 (D, C), float32 (C,)]; a class without examples gets a bias that makes it impossible.
    """
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000).fit(vectors, labels, sample_weight)
    kernel = np.zeros((vectors.shape[1], num_classes), np.float32)
    bias = np.full(num_classes, -30.0, np.float32)
    coefficients, intercepts = fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:  # scikit-learn then has the second class's score alone
        coefficients, intercepts = np.concatenate([-coefficients, coefficients]) / 2, np.array([-0.5, 0.5]) * intercepts
    kernel[:, fitted.classes_] = coefficients.T
    bias[fitted.classes_] = intercepts
    return [kernel, bias]
