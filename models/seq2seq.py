"""The encoder–decoder of "Attention Is All You Need" (Vaswani et al. 2017) with present norms and positions."""

import keras
from keras import ops

from models import gpt, transformer
from models.attention import causal
from models.layers import Bias, Unflatten


def encoder_decoder(encoder, config):
    """Predicts each next token of a target from the whole source and the tokens before it.

    The two languages and the projection on the vocabulary share one embedding (section 3.4). Rows may hold several
    pairs: a target sees the source whose number it has.

    Args:
        encoder: a model such as `models.bert.backbone` makes; its hidden_dim and vocabulary are the decoder's.
        config: `TransformerConfig` of the decoder.

    Returns:
        `keras.Model`: {"token_ids", "segment_ids": int32 (B, S), "target_ids", "target_segment_ids": int32 (B, T)} →
        float32 logits (B, T, V). Its layer "backbone" is the encoder.
    """
    inputs = {name: keras.Input((None,), dtype="int32", name=name)
              for name in ("token_ids", "segment_ids", "target_ids", "target_segment_ids")}
    target_segment_ids = inputs["target_segment_ids"]
    encoded = encoder({name: inputs[name] for name in ("token_ids", "segment_ids")})  # (B, S, D)
    layers = transformer.stack(config, gpt.MIXED_PLACES, False, encoder.get_layer("token_embedding"))
    before = causal(target_segment_ids)  # (B, T, T)
    across = ops.equal(target_segment_ids[:, :, None], inputs["segment_ids"][:, None, :])  # (B, T, S)
    x = transformer.embed(layers, inputs["target_ids"], target_segment_ids)
    x = ops.reshape(x, (-1, config.hidden_dim))  # (B·T, D)
    for number in range(config.num_layers):
        memory = layers[f"layer_{number}_memory"](encoded)
        x = transformer.block(layers, number, x, lambda attention, hidden: attention(hidden, before),
                              lambda attention, hidden, memory=memory: attention(hidden, memory, across))
    logits = layers["token_embedding"](layers["final_norm"](x), reverse=True)  # (B·T, V)
    logits = Bias(name="vocabulary_bias", dtype="float32")(logits)
    logits = Unflatten(name="unflatten", dtype="float32")(logits, inputs["target_ids"])  # (B, T, V)
    return keras.Model(inputs, logits, name="encoder_decoder")


class Decoder(gpt.Decoder):
    """Reads the sources once; then gives the logits of each target's next token and reads every token once."""

    def __init__(self, model, start_id):
        """
        Args:
            model: of `encoder_decoder`.
            start_id: the token that every target begins with.
        """
        self.window = 10**9  # targets are seen whole
        self.encoder = model.get_layer("backbone")
        self.start_id = start_id
        self.layers = {**{layer.name: layer for layer in model.layers},
                       "token_embedding": self.encoder.get_layer("token_embedding")}
        self.bias = self.layers["vocabulary_bias"]
        self.num_layers = sum(name.endswith("_memory") for name in self.layers)

    def start(self, token_ids, room):
        """Reads the sources.

        Args:
            token_ids: int32 (B, S), padded with 0 on either side.
            room: how many tokens of the targets may follow.

        Returns:
            (float32 (B, V) logits of the targets' first token, state).
        """
        is_token = token_ids != 0
        encoded = self.encoder({"token_ids": token_ids, "segment_ids": ops.cast(is_token, "int32")}, training=False)
        memory = {}
        for number in range(self.num_layers):
            keys, values = self.layers[f"layer_{number}_memory"](encoded)
            memory |= {f"memory_keys_{number}": keys, f"memory_values_{number}": values}
        beginning = ops.full((ops.shape(token_ids)[0], 1), self.start_id, "int32")
        return self._begin(beginning, room, {**memory, "memory_is_token": is_token})

    def _recall(self, state, number, length):
        allowed = ops.repeat(state["memory_is_token"][:, None], length, axis=1)  # (B, length, S)
        memory = [state[f"memory_{what}_{number}"] for what in ("keys", "values")]
        return lambda attention, hidden: attention(hidden, memory, allowed)
