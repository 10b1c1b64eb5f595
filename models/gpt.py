"""GPT: a causal Transformer decoder (Radford et al. 2019) with present norms and positions; step by step with a cache."""

from keras import ops

from models import transformer
from models.attention import causal

MIXED_PLACES = (-2, -1)  # what `LocalMixing` reads: the two tokens before


def backbone(config, name="backbone", rematerialise=False):
    """Token ids in, one vector per position out, which depends on that position and those before it in its document.

    Args:
        config: `TransformerConfig`.
        rematerialise: compute attention twice in training instead of keeping it in memory; changes no value.

    Returns:
        `keras.Model`: {"token_ids": int32 (B, L), "segment_ids": int32 (B, L)} → float (B, L, D).
        Its layer "token_embedding" is reversible: `call(x, reverse=True)` gives logits over the vocabulary.
    """
    return transformer.backbone(config, MIXED_PLACES, causal, name, rematerialise)


class Decoder:
    """Gives the logits of the next token, over and over, and reads every token once: keys and values are kept.

    Rows of different lengths are padded on the left: positions count as distances, so that changes nothing. A state is a
    dict of tensors, "position" a number and all others with a row of the batch in their first axis.
    """

    def __init__(self, model, window):
        """
        Args:
            model: `models.heads.causal_lm(backbone)`.
            window: how many tokens a position sees, itself counted in: no more than it was trained on. So a text may
                become longer than that.
        """
        self.window = window
        self.layers = {layer.name: layer for layer in model.get_layer("backbone").layers}
        self.bias = model.get_layer("vocabulary_bias")
        self.num_layers = sum(name.endswith("_attention_norm") for name in self.layers)

    def start(self, token_ids, room):
        """Reads the beginning of each row.

        Args:
            token_ids: int32 (B, n), padded on the left with 0.
            room: how many tokens may follow.

        Returns:
            (float32 (B, V) logits of the next token, state).
        """
        return self._begin(token_ids, room, {})

    def _begin(self, token_ids, room, memory):
        """What `start` returns; `memory` joins the state."""
        batch, length = ops.shape(token_ids)
        before = -min(MIXED_PLACES)
        attention, width = self.layers["layer_0_attention"], self.layers["token_embedding"].output_dim
        total = before + length + room
        past = ops.zeros((batch, attention.num_heads, total, width // attention.num_heads),
                         self.layers["token_embedding"].compute_dtype)
        state = {"token_ids": ops.pad(token_ids, ((0, 0), (before, room))), "position": ops.convert_to_tensor(before),
                 **{f"past_{what}_{number}": past for number in range(self.num_layers) for what in ("keys", "values")},
                 **memory}
        return self._read(state, length)

    def step(self, state, token_ids):
        """Reads one more token of each row.

        Args:
            state: as `start` or `step` returned it, or rows of it.
            token_ids: int32 (B,), not 0.

        Returns:
            (float32 (B, V) logits of the next token, state).
        """
        here = ops.arange(ops.shape(state["token_ids"])[1]) == state["position"]
        return self._read({**state, "token_ids": ops.where(here, token_ids[:, None], state["token_ids"])}, 1)

    def _read(self, state, length):
        """Reads the next `length` tokens that stand in the state."""
        before, position = -min(MIXED_PLACES), state["position"]
        batch, total = ops.shape(state["token_ids"])
        window = ops.slice(state["token_ids"], (0, position - before), (batch, before + length))
        x = transformer.embed(self.layers, window, ops.cast(window != 0, "int32"))[:, before:]  # (B, length, D)
        x = ops.reshape(x, (-1, x.shape[-1]))  # (B·length, D)
        rows, columns = position + ops.arange(length), ops.arange(total)
        distance = rows[:, None] - columns  # (length, total)
        in_sight = ops.logical_and(distance >= 0, distance < self.window)
        allowed = ops.logical_and(in_sight, (state["token_ids"] != 0)[:, None])  # (B, length, total)
        state = {**state, "position": position + length}

        def attend(number, attention, hidden):
            names = [f"past_{what}_{number}" for what in ("keys", "values")]
            attended, *past = attention(hidden, allowed, [state[name] for name in names], position)
            state.update(zip(names, past))
            return attended

        for number in range(self.num_layers):
            x = transformer.block(self.layers, number, x, lambda *arguments, number=number: attend(number, *arguments),
                                  self._recall(state, number, length))
        last = ops.reshape(x, (batch, length, x.shape[-1]))[:, -1]  # (B, D)
        logits = self.layers["token_embedding"](self.layers["final_norm"](last), reverse=True)
        return self.bias(logits), state

    def _recall(self, state, number, length):
        """How a block attends to an encoder's output; None where there is none."""
        return None
