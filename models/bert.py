"""BERT: a Transformer encoder (Devlin et al. 2019) with present norms and positions, on packed rows."""

import keras
from keras import ops

from models.layers import LocalMixing, SelfAttention, Unflatten, same_segment, squared_relu


def backbone(config, name="backbone", rematerialise=False):
    """Token ids in, one vector per position out.

    Documents packed into one row do not see each other and positions count as distances, so a row of three documents
    gives the same vectors as three rows of one document.

    Args:
        config: `EncoderConfig`.
        rematerialise: compute attention twice in training instead of keeping it in memory; changes no value.

    Returns:
        `keras.Model`: {"token_ids": int32 (B, L), "segment_ids": int32 (B, L)} → float (B, L, D).
        Its layer "token_embedding" is reversible: `call(x, reverse=True)` gives logits over the vocabulary.
    """
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    segment_ids = keras.Input((None,), dtype="int32", name="segment_ids")
    allowed = same_segment(segment_ids)  # (B, L, L)
    embedding = keras.layers.ReversibleEmbedding(
        config.vocabulary_size, config.hidden_dim, name="token_embedding",
        embeddings_initializer=keras.initializers.RandomNormal(stddev=0.02))
    x = _norm("embedding_norm")(embedding(token_ids))  # (B, L, D)
    x = LocalMixing(name="local_mixing")(x, segment_ids)
    x = ops.reshape(x, (-1, config.hidden_dim))  # (B·L, D)
    x = _norm("mixing_norm")(x)
    x = keras.layers.Dropout(config.dropout, name="embedding_dropout")(x)
    for layer in range(config.num_layers):
        x = _block(x, allowed, config, f"layer_{layer}", rematerialise)
    x = _norm("final_norm")(x)
    x = Unflatten(name="unflatten")(x, token_ids)  # (B, L, D)
    return keras.Model({"token_ids": token_ids, "segment_ids": segment_ids}, x, name=name)


def _block(x, allowed, config, name, rematerialise):
    """Attention and feed-forward, each with its norm before and its sum after. x: float (B·L, D)."""
    attention = SelfAttention(config.num_heads, rematerialise, name=f"{name}_attention")
    attended = attention(_norm(f"{name}_attention_norm")(x), allowed)
    x = x + keras.layers.Dropout(config.dropout, name=f"{name}_attention_dropout")(attended)
    wide = keras.layers.Dense(config.intermediate_dim, activation=squared_relu, use_bias=False,
                              name=f"{name}_intermediate")(_norm(f"{name}_feedforward_norm")(x))
    narrow = keras.layers.Dense(config.hidden_dim, kernel_initializer="zeros", use_bias=False,
                                name=f"{name}_output")(wide)
    return x + keras.layers.Dropout(config.dropout, name=f"{name}_output_dropout")(narrow)


def _norm(name):
    return keras.layers.RMSNormalization(epsilon=1e-6, name=name)
