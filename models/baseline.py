"""The simple classifier to beat: Embedding → GlobalAveragePooling → Dense (after Joulin et al. 2017, fastText)."""

import dataclasses

import keras
from keras import ops

from models.layers import masked_mean


@dataclasses.dataclass(frozen=True)
class BaselineConfig:
    """The bag of embeddings.

    Attributes:
        vocabulary_size: V, number of token ids.
        num_classes: C.
        embedding_dim: D, width of a row.
        num_buckets: rows in each table of hashed n-grams; 0 = no n-grams.
        longest_ngram: 2 = pairs of tokens, 3 = pairs and triples.
    """

    vocabulary_size: int
    num_classes: int
    embedding_dim: int = 16
    num_buckets: int = 0
    longest_ngram: int = 2

    def __post_init__(self):
        if min(self.vocabulary_size, self.num_classes, self.embedding_dim) < 1:
            raise ValueError(f"a baseline's sizes must be at least 1. Received: {self}")
        if self.num_buckets < 0 or self.longest_ngram not in (2, 3):
            raise ValueError("num_buckets must be at least 0 and longest_ngram 2 or 3. "
                             f"Received: num_buckets={self.num_buckets}, longest_ngram={self.longest_ngram}")


@keras.saving.register_keras_serializable("fromzero")
class RowEmbedding(keras.layers.Embedding):
    """An embedding that reads the rows it needs and no others.

    `ops.take` reads the whole table first. TensorFlow copies it for that as soon as an optimizer has updated single
    rows of it in place: with 200,000 rows of 64 a step of 32 texts took 24 ms instead of 3.
    """

    def call(self, row_numbers):
        read_rows = getattr(self.embeddings.value, "sparse_read", None)  # of a tf.Variable
        return super().call(row_numbers) if read_rows is None else read_rows(row_numbers)


def baseline(config):
    """Embedding of tokens and hashed n-grams → masked GlobalAveragePooling → Dense.

    Args:
        config: `BaselineConfig`.

    Returns:
        `keras.Model`: {"token_ids", "segment_ids": int32 (B, L), 0 = padding} → float32 logits (B, C).
    """
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    segment_ids = keras.Input((None,), dtype="int32", name="segment_ids")
    # Rows that training has not met add nothing to a mean.
    features = 0.0
    for ids, size, name in zip(table_rows(token_ids, config), table_sizes(config), ("token", "bigram", "trigram")):
        features += RowEmbedding(size, config.embedding_dim, embeddings_initializer="zeros",
                                 name=f"{name}_embedding")(ids)
    pooled = masked_mean(features, segment_ids)  # (B, D)
    logits = keras.layers.Dense(config.num_classes, dtype="float32", name="classes")(pooled)
    return keras.Model({"token_ids": token_ids, "segment_ids": segment_ids}, logits, name="baseline")


def table_sizes(config):
    """Rows of each table: of the tokens', and of those of pairs and triples."""
    return [config.vocabulary_size] + [config.num_buckets] * ((config.longest_ngram - 1) if config.num_buckets else 0)


def table_rows(token_ids, config):
    """Which row of each table stands for each token and for the n-grams that end with it.

    The hashing trick (Weinberger et al. 2009): collisions are rare enough that no table of n-grams is kept.

    Args:
        token_ids: int32 (B, L).
        config: `BaselineConfig`.

    Returns:
        For each table int32 (B, L). Positions before the first count as id 0.
    """
    rows, hashed = [token_ids], token_ids
    for distance, num_buckets in enumerate(table_sizes(config)[1:], 1):
        earlier = ops.pad(token_ids, ((0, 0), (distance, 0)))[:, : -distance]  # (B, L)
        # Knuth's multiplicative constant; int32 arithmetic wraps on every backend.
        hashed = earlier - hashed * 1640531527
        rows.append(ops.mod(hashed, num_buckets))
    return rows
