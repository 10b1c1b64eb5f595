"""BERT: a Transformer encoder (Devlin et al. 2019) with present norms and positions, on packed rows."""

import keras
from keras import ops

from models.layers import Unflatten, same_segment
from models.transformer import block, embed, stack


def backbone(config, name="backbone", rematerialise=False):
    """Token ids in, one vector per position out.

    Documents packed into one row do not see each other and positions count as distances, so a row of three documents
    gives the same vectors as three rows of one document.

    Args:
        config: `TransformerConfig`.
        rematerialise: compute attention twice in training instead of keeping it in memory; changes no value.

    Returns:
        `keras.Model`: {"token_ids": int32 (B, L), "segment_ids": int32 (B, L)} → float (B, L, D).
        Its layer "token_embedding" is reversible: `call(x, reverse=True)` gives logits over the vocabulary.
    """
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    segment_ids = keras.Input((None,), dtype="int32", name="segment_ids")
    layers = stack(config, mixed_places=(-1, 1), rematerialise=rematerialise)
    allowed = same_segment(segment_ids)  # (B, L, L)
    x = ops.reshape(embed(layers, token_ids, segment_ids), (-1, config.hidden_dim))  # (B·L, D)
    for number in range(config.num_layers):
        x = block(layers, number, x, lambda attention, hidden: attention(hidden, allowed))
    x = Unflatten(name="unflatten")(layers["final_norm"](x), token_ids)  # (B, L, D)
    return keras.Model({"token_ids": token_ids, "segment_ids": segment_ids}, x, name=name)
