"""Attention: of a row to itself, of a decoder to what an encoder has read, and who may see whom. `keras.ops` alone."""

import keras
from keras import ops

# Below the usual 10,000: rows have a few hundred positions, and slower pairs would never turn.
ROTARY_BASE = 1000.0


@keras.saving.register_keras_serializable("fromzero")
class SelfAttention(keras.layers.Layer):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2) with one fused projection and without biases.

    Queries and keys are normalised to unit root mean square per head (Henry et al. 2020, "Query-Key Normalization")
    and rotated by their positions, so that scores depend on distances alone. The output projection starts at zero, so
    that a block starts as the identity.
    """

    def __init__(self, num_heads, rematerialise=False, **kwargs):
        """
        Args:
            num_heads: H; D must be an even multiple of it.
            rematerialise: compute the scores again in the backward pass instead of keeping them in memory (Chen et al.
                2016, "Training deep nets with sublinear memory cost"). A step on 8 rows of 1,024 tokens, 4 × 128, takes
                789 instead of 1,040 MB.
        """
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.rematerialise = rematerialise

    def build(self, hidden_shape, allowed_shape):
        hidden_dim = hidden_shape[-1]
        self.query_key_value = self.add_weight((hidden_dim, 3 * hidden_dim), "glorot_uniform", name="query_key_value")
        self.output_projection = self.add_weight((hidden_dim, hidden_dim), "zeros", name="output_projection")

    def call(self, hidden, allowed, past=None, position=0):
        """
        Args:
            hidden: float (B·L, D).
            allowed: bool (B, L, T), True where row i may look at column j; T = L without `past`.
            past: keys and values, each float (B, H, T, D/H), of the positions before `position`, with room for those that
                follow; None where a whole row is read at once.
            position: int, of the first row, if there is a `past`.

        Returns:
            float (B·L, D); with `past` that, the keys and the values, with these positions in them.
        """
        projected = ops.matmul(hidden, self.query_key_value)
        if past is None:
            def attend(projected):
                return mix_values(*self._split(projected, allowed), allowed)

            # Not keras.RematScope: in Keras 3.15 it repeats a layer outside its precision, and on TensorFlow it fails
            # on bool inputs and on layers that take `training`. What has no weights and no such inputs it cannot get
            # wrong.
            attend = keras.remat(attend) if self.rematerialise else attend
            return ops.matmul(attend(projected), self.output_projection)
        query, key, value = self._split(projected, allowed, position)
        # Two tensors, not one of both: taking that apart would copy all of it at every step.
        total = ops.shape(allowed)[2]
        key, value = (_put(*one, position, total) for one in zip(past, (key, value)))
        return ops.matmul(mix_values(query, key, value, allowed), self.output_projection), key, value

    def _split(self, projected, allowed, position=0):
        """(B·L, 3·D) → queries, keys and values, each (B, H, L, D/H); the first two normalised and rotated."""
        batch, length, _ = ops.shape(allowed)
        head_dim = projected.shape[-1] // 3 // self.num_heads
        projected = ops.reshape(projected, (batch, length, 3, self.num_heads, head_dim))
        query, key, value = ops.unstack(ops.transpose(projected, (2, 0, 3, 1, 4)))  # each (B, H, L, D/H)
        return *(rotate(ops.rms_normalization(x, axis=-1), position) for x in (query, key)), value

    def compute_output_shape(self, hidden_shape, allowed_shape):
        return hidden_shape

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads, "rematerialise": self.rematerialise}


@keras.saving.register_keras_serializable("fromzero")
class Memory(keras.layers.Layer):
    """Keys and values that a decoder finds in what an encoder has read (Vaswani et al. 2017, section 3.2.3)."""

    def __init__(self, num_heads, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, encoded_shape):
        hidden_dim = encoded_shape[-1]
        self.key_value = self.add_weight((hidden_dim, 2 * hidden_dim), "glorot_uniform", name="key_value")

    def call(self, encoded):
        """float (B, S, D) → (keys of unit root mean square, values), each float (B, H, S, D/H)."""
        batch, length, hidden_dim = ops.shape(encoded)
        projected = ops.matmul(ops.reshape(encoded, (-1, hidden_dim)), self.key_value)
        projected = ops.reshape(projected, (batch, length, 2, self.num_heads, hidden_dim // self.num_heads))
        key, value = ops.unstack(ops.transpose(projected, (2, 0, 3, 1, 4)))  # each (B, H, S, D/H)
        return ops.rms_normalization(key, axis=-1), value

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads}


@keras.saving.register_keras_serializable("fromzero")
class CrossAttention(keras.layers.Layer):
    """Multi-head attention of a decoder's positions to a `Memory`; starts as zero."""

    def build(self, hidden_shape, memory_shape, allowed_shape):
        hidden_dim = hidden_shape[-1]
        self.query = self.add_weight((hidden_dim, hidden_dim), "glorot_uniform", name="query")
        self.output_projection = self.add_weight((hidden_dim, hidden_dim), "zeros", name="output_projection")

    def call(self, hidden, memory, allowed):
        """
        Args:
            hidden: float (B·T, D).
            memory: keys and values, each float (B, H, S, D/H).
            allowed: bool (B, T, S), True where the target's row i may look at the source's column j.

        Returns:
            float (B·T, D).
        """
        batch, length, _ = ops.shape(allowed)
        key, value = memory
        query = ops.reshape(ops.matmul(hidden, self.query), (batch, length, key.shape[1], key.shape[3]))
        query = ops.rms_normalization(ops.transpose(query, (0, 2, 1, 3)), axis=-1)
        return ops.matmul(mix_values(query, key, value, allowed), self.output_projection)

    def compute_output_shape(self, hidden_shape, memory_shape, allowed_shape):
        return hidden_shape


def mix_values(query, key, value, allowed, dropout=None):
    """Each position's mixture of values: (B, H, L, d), (B, H, T, d) twice and bool (B, L, T) → (B·L, H·d).

    `dropout` is a layer for the shares that values have, or None.
    """
    if keras.backend.backend() == "jax" and dropout is None:
        # On a GPU, in 16 bits, one kernel that keeps no scores (Dao et al. 2022, "FlashAttention"): rows of 512
        # train 1.2 times as fast at 12 × 768. On TensorFlow this call is no kernel: on a CPU it takes attention
        # 1.15 times as long as the lines below.
        by_position = (ops.transpose(x, (0, 2, 1, 3)) for x in (query, key, value))
        mixed = ops.dot_product_attention(*by_position, mask=allowed[:, None])  # (B, L, H, d)
        return ops.reshape(mixed, (-1, query.shape[1] * query.shape[3]))
    scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) * query.shape[-1]**-0.5  # (B, H, L, T)
    scores = scores + ops.cast(ops.logical_not(allowed), scores.dtype)[:, None] * -1e4
    shares = ops.softmax(scores)
    mixed = ops.matmul(dropout(shares) if dropout else shares, value)  # (B, H, L, D/H)
    return ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), (-1, query.shape[1] * query.shape[-1]))  # (B·L, D)


def _put(past, new, position, total):
    """Keys or values (B, H, T, d), 0 from `position` on, with (B, H, n, d) there; T = total."""
    # Not ops.slice_update: on TensorFlow that is an operation of XLA, which some servers lack.
    batch, num_heads, length, width = ops.shape(new)
    rows = ops.arange(batch * num_heads)[:, None] * total  # where each head's places begin
    places = ops.reshape(rows + position + ops.arange(length), (-1, 1))  # (B·H·n, 1)
    past, new = (ops.reshape(x, (-1, width)) for x in (past, new))
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # In place, where ops.scatter_update copies all of the past: a quarter of the time of 16 texts, 4 × 256.
        past = tf.raw_ops.ScatterNdNonAliasingAdd(input=past, indices=places, updates=new)
    else:
        past = ops.scatter_update(past, places, new)
    return ops.reshape(past, (-1, num_heads, total, width))


def same_segment(segment_ids):
    """Which positions of a packed row may see each other: those of the same document.

    Args:
        segment_ids: int32 (B, L), 1… per document, 0 = padding.

    Returns:
        bool (B, L, L).
    """
    return ops.equal(segment_ids[:, :, None], segment_ids[:, None, :])


def causal(segment_ids):
    """Which positions of a packed row may see which: those of the same document that do not come after them.

    Args:
        segment_ids: int32 (B, L), 1… per document, 0 = padding.

    Returns:
        bool (B, L, L).
    """
    positions = ops.cumsum(ops.ones_like(segment_ids), axis=1)  # not arange: a functional model's lengths are open
    return ops.logical_and(same_segment(segment_ids), positions[:, :, None] >= positions[:, None, :])


def rotate(x, start=0):
    """Rotary position embedding (Su et al. 2021, "RoFormer", section 3.2.2): a pair of features turns with the position.

    The product of two rotated vectors depends on how far apart they stand, so positions need not start again in every
    document of a packed row.

    Args:
        x: float (B, H, L, d), d even; features i and i + d/2 make a pair.
        start: int, the first row's position.

    Returns:
        float (B, H, L, d).
    """
    half = x.shape[-1] // 2
    frequencies = ROTARY_BASE ** (-ops.arange(half, dtype="float32") / half)  # radians a position
    positions = ops.cast(start + ops.arange(ops.shape(x)[2]), "float32")
    angles = positions[:, None] * frequencies  # (L, d/2)
    cosine, sine = ops.cast(ops.cos(angles), x.dtype), ops.cast(ops.sin(angles), x.dtype)
    first, second = ops.split(x, 2, axis=-1)  # the gradient of a slice would cost five times that of a split
    return ops.concatenate([first * cosine - second * sine, first * sine + second * cosine], axis=-1)
