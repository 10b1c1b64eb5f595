"""What somebody chose in, a score for every item out: a GPT over items whose vectors know their titles."""

import keras
from keras import ops

from models import gpt, transformer
from models.attention import causal
from models.layers import Unflatten, masked_mean


def recommender(config, num_pieces):
    """Predicts each next item of a history from those before it (Kang & McAuley 2018, "SASRec", section 3).

    The catalogue is an input: items may join it after training. The loss is the cross-entropy over all of it.

    Args:
        config: `TransformerConfig`; vocabulary_size is one more than the items that training meets, whose numbers count
            from 1; sequence_length the longest history.
        num_pieces: the vocabulary of the titles.

    Returns:
        `keras.Model`: {"item_numbers": int32 (N,), "title_ids": int32 (N, T), "history": int32 (B, L), rows of these N,
        "segment_ids": int32 (B, L), 0 = padding} → float32 logits (B, L, N). Its layers are the two models below:
        "items" and "histories".
    """
    layers = transformer.stack(config, gpt.MIXED_PLACES, rematerialise=False)
    items = _item_encoder(config, num_pieces, layers["token_embedding"])
    histories = _history_encoder(config, layers)
    inputs = {name: keras.Input(() if name == "item_numbers" else (None,), dtype="int32", name=name)
              for name in ("item_numbers", "title_ids", "history", "segment_ids")}
    vectors = items({name: inputs[name] for name in ("item_numbers", "title_ids")})  # (N, D)
    chosen = ops.take(vectors, inputs["history"], axis=0)  # (B, L, D)
    states = histories({"vectors": chosen, "segment_ids": inputs["segment_ids"]})  # (B, L, D)
    states = ops.reshape(states, (-1, config.hidden_dim))  # (B·L, D)
    logits = ops.matmul(states, ops.transpose(vectors))  # (B·L, N)
    logits = Unflatten(name="logits", dtype="float32")(logits, inputs["segment_ids"])  # (B, L, N)
    return keras.Model(inputs, logits, name="recommender")


def _item_encoder(config, num_pieces, item_embedding):
    """An item's vector: one of its own, and what its title says.

    Number 0 is that of an item that training has not met. Its vector is learned from items that hide their number
    (Volkovs et al. 2017, "DropoutNet", section 4.2).

    Returns:
        `keras.Model`: {"item_numbers": int32 (N,), "title_ids": int32 (N, T), 0 = padding} → float (N, D).
    """
    item_numbers = keras.Input((), dtype="int32", name="item_numbers")
    title_ids = keras.Input((None,), dtype="int32", name="title_ids")
    pieces = keras.layers.Embedding(num_pieces, config.hidden_dim, name="piece_embedding")(title_ids)  # (N, T, D)
    title = keras.layers.Dropout(config.dropout, name="title_dropout")(masked_mean(pieces, title_ids))
    title = keras.layers.Dense(config.hidden_dim, use_bias=False, name="title")(title)  # (N, D)
    return keras.Model({"item_numbers": item_numbers, "title_ids": title_ids}, item_embedding(item_numbers) + title,
                       name="items")


def _history_encoder(config, layers):
    """A history up to each place: a causal Transformer that reads vectors.

    Returns:
        `keras.Model`: {"vectors": float (B, L, D), "segment_ids": int32 (B, L), 0 = padding} → float (B, L, D).
    """
    vectors = keras.Input((None, config.hidden_dim), name="vectors")
    segment_ids = keras.Input((None,), dtype="int32", name="segment_ids")
    states = transformer.read(layers, config, vectors, segment_ids, causal)
    return keras.Model({"vectors": vectors, "segment_ids": segment_ids}, states, name="histories")
