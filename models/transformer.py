"""What the families share: a stack of layers by name, applied to whole rows in training and token by token afterwards."""

import keras
from keras import ops

from models.attention import CrossAttention, Memory, SelfAttention
from models.layers import LocalMixing, Unflatten, squared_relu


def backbone(config, mixed_places, visible, name, rematerialise):
    """Token ids in, one vector per position out: what `models.bert.backbone` and `models.gpt.backbone` describe.

    Args:
        config, mixed_places, rematerialise: as for `stack`.
        visible: `visible(segment_ids int32 (B, L))` → bool (B, L, L), True where row i may look at column j.
    """
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    segment_ids = keras.Input((None,), dtype="int32", name="segment_ids")
    layers = stack(config, mixed_places, rematerialise)
    x = read(layers, config, layers["token_embedding"](token_ids), segment_ids, visible)
    return keras.Model({"token_ids": token_ids, "segment_ids": segment_ids}, x, name=name)


def read(layers, config, vectors, segment_ids, visible):
    """Whole rows of vectors, one after the other through every layer of `stack` behind the embedding.

    Args:
        layers: of `stack`.
        config, visible: as for `backbone`.
        vectors: float (B, L, D).
        segment_ids: int32 (B, L).

    Returns:
        float (B, L, D).
    """
    x = ops.reshape(mix(layers, vectors, segment_ids), (-1, config.hidden_dim))  # (B·L, D)
    return Unflatten(name="unflatten")(encode(layers, x, visible(segment_ids)), segment_ids)


def stack(config, mixed_places, rematerialise, token_embedding=None):
    """The layers between token ids and the last hidden state.

    Args:
        config: `TransformerConfig`.
        mixed_places: of `LocalMixing`.
        rematerialise: compute attention twice in training instead of keeping it in memory; changes no value.
        token_embedding: an encoder's, whose output the layers are to read as well.

    Returns:
        {name: `keras.Layer`}; "token_embedding" is reversible: `call(x, reverse=True)` gives logits over the vocabulary.
    """
    layers = [
        token_embedding or keras.layers.ReversibleEmbedding(
            config.vocabulary_size, config.hidden_dim, name="token_embedding",
            embeddings_initializer=keras.initializers.RandomNormal(stddev=0.02)),
        _norm("embedding_norm"), LocalMixing(mixed_places, name="local_mixing"), _norm("mixing_norm"),
        keras.layers.Dropout(config.dropout, name="embedding_dropout")]
    for number in range(config.num_layers):
        name = f"layer_{number}"
        layers += [
            _norm(f"{name}_attention_norm"),
            SelfAttention(config.num_heads, rematerialise, name=f"{name}_attention"),
            keras.layers.Dropout(config.dropout, name=f"{name}_attention_dropout"),
            *([_norm(f"{name}_cross_norm"), Memory(config.num_heads, name=f"{name}_memory"),
               CrossAttention(name=f"{name}_cross_attention"),
               keras.layers.Dropout(config.dropout, name=f"{name}_cross_dropout")] if token_embedding else []),
            _norm(f"{name}_feedforward_norm"),
            keras.layers.Dense(config.intermediate_dim, activation=squared_relu, use_bias=False,
                               name=f"{name}_intermediate"),
            keras.layers.Dense(config.hidden_dim, kernel_initializer="zeros", use_bias=False, name=f"{name}_output"),
            keras.layers.Dropout(config.dropout, name=f"{name}_output_dropout")]
    return {layer.name: layer for layer in [*layers, _norm("final_norm")]}


def embed(layers, token_ids, segment_ids):
    """What the first block reads.

    Args:
        token_ids, segment_ids: int32 (B, L).

    Returns:
        float (B, L, D).
    """
    return mix(layers, layers["token_embedding"](token_ids), segment_ids)


def mix(layers, vectors, segment_ids):
    """The same from the tokens' vectors, float (B, L, D)."""
    x = layers["embedding_norm"](vectors)
    x = layers["mixing_norm"](layers["local_mixing"](x, segment_ids))
    return layers["embedding_dropout"](x)


def encode(layers, x, allowed):
    """All blocks and the last norm.

    Args:
        layers: of `stack`.
        x: float (B·L, D).
        allowed: bool (B, L, L), True where row i may look at column j.

    Returns:
        float (B·L, D).
    """
    for number in range(sum(name.endswith("_intermediate") for name in layers)):
        x = block(layers, number, x, lambda attention, hidden: attention(hidden, allowed))
    return layers["final_norm"](x)


def block(layers, number, x, attend, recall=None):
    """Attention, attention to an encoder's output if there is one, and feed-forward, each with its norm and its sum.

    Args:
        layers: of `stack`.
        number: of the block.
        x: float (B·L, D).
        attend: `attend(attention layer, float (B·L, D))` → float (B·L, D).
        recall: the same for the layer of cross-attention.

    Returns:
        float (B·L, D).
    """
    name = f"layer_{number}"
    attended = attend(layers[f"{name}_attention"], layers[f"{name}_attention_norm"](x))
    x = x + layers[f"{name}_attention_dropout"](attended)
    if recall:
        recalled = recall(layers[f"{name}_cross_attention"], layers[f"{name}_cross_norm"](x))
        x = x + layers[f"{name}_cross_dropout"](recalled)
    wide = layers[f"{name}_intermediate"](layers[f"{name}_feedforward_norm"](x))
    return x + layers[f"{name}_output_dropout"](layers[f"{name}_output"](wide))


def _norm(name):
    return keras.layers.RMSNormalization(epsilon=1e-6, name=name)
