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
        embedding_dim: width of a token's vector.
        hidden_dim: width of the dense layer between the mean and the classes.
        num_buckets: rows of the table that hashed n-grams share; 0 = no n-grams.
        longest_ngram: 2 = pairs of tokens, 3 = pairs and triples.
        dropout: share of the mean vector dropped in training.
        word_dropout: share of the tokens dropped in training, their n-grams with them (Iyyer et al. 2015, section 3).
    """

    vocabulary_size: int
    num_classes: int
    embedding_dim: int = 64
    hidden_dim: int = 64
    num_buckets: int = 0
    longest_ngram: int = 2
    dropout: float = 0.5
    word_dropout: float = 0.0

    def __post_init__(self):
        if min(self.vocabulary_size, self.num_classes, self.embedding_dim, self.hidden_dim) < 1:
            raise ValueError(f"a baseline's sizes must be at least 1. Received: {self}")
        if not (0 <= self.dropout < 1 and 0 <= self.word_dropout < 1):
            raise ValueError("dropout and word_dropout must be in [0, 1). "
                             f"Received: {self.dropout} and {self.word_dropout}")
        if self.num_buckets < 0 or self.longest_ngram not in (2, 3):
            raise ValueError("num_buckets must be at least 0 and longest_ngram 2 or 3. "
                             f"Received: num_buckets={self.num_buckets}, longest_ngram={self.longest_ngram}")


@keras.saving.register_keras_serializable("fromzero")
class RowEmbedding(keras.layers.Embedding):
    """An embedding that reads the rows it needs and no others.

    `ops.take` reads the whole table first. TensorFlow copies it for that as soon as an optimizer has updated single
    rows of it in place: with 200,000 rows of 64 a step of 32 texts took 24 ms instead of 3.
    """

    def call(self, token_ids):
        read_rows = getattr(self.embeddings.value, "sparse_read", None)  # of a tf.Variable
        return super().call(token_ids) if read_rows is None else read_rows(token_ids)


def baseline(config):
    """Embedding (+ hashed n-grams) → masked GlobalAveragePooling → Dense relu → logits.

    Args:
        config: `BaselineConfig`.

    Returns:
        `keras.Model`: {"token_ids", "segment_ids": int32 (B, L), 0 = padding} → float32 logits (B, C).
    """
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    segment_ids = keras.Input((None,), dtype="int32", name="segment_ids")
    # As fastText starts them: tokens that training has not met add next to nothing to a mean.
    small = keras.initializers.RandomUniform(-1 / config.embedding_dim, 1 / config.embedding_dim)
    features = RowEmbedding(config.vocabulary_size, config.embedding_dim, embeddings_initializer=small,
                            name="token_embedding")(token_ids)
    if config.num_buckets:
        for ids, name in zip(hashed_ngrams(token_ids, config), ("bigram", "trigram")):
            features = features + RowEmbedding(config.num_buckets, config.embedding_dim,
                                               embeddings_initializer="zeros", name=f"{name}_embedding")(ids)
    features = keras.layers.Dropout(config.word_dropout, noise_shape=(None, None, 1))(features)
    pooled = masked_mean(features, segment_ids)  # (B, embedding_dim)
    pooled = keras.layers.Dropout(config.dropout)(pooled)
    pooled = keras.layers.Dense(config.hidden_dim, activation="relu", name="dense")(pooled)
    logits = keras.layers.Dense(config.num_classes, dtype="float32", name="classes")(pooled)
    return keras.Model({"token_ids": token_ids, "segment_ids": segment_ids}, logits, name="baseline")


def hashed_ngrams(token_ids, config):
    """Which row of the n-gram table stands for the n-gram that ends at each position.

    The hashing trick (Weinberger et al. 2009): collisions are rare enough that no table of n-grams is kept.

    Args:
        token_ids: int32 (B, L).
        config: `BaselineConfig` with num_buckets > 0.

    Returns:
        A list of int32 (B, L), one for each n from 2 on. Positions before the row count as id 0.
    """
    hashes, hashed = [], token_ids
    for distance in range(1, config.longest_ngram):
        earlier = ops.pad(token_ids, ((0, 0), (distance, 0)))[:, : -distance]  # (B, L)
        # Knuth's multiplicative constant; int32 arithmetic wraps on every backend.
        hashed = hashed * -1640531527 + earlier
        hashes.append(ops.mod(hashed, config.num_buckets))
    return hashes
