"""The few layers that core Keras lacks. `keras.ops` alone: they run on every backend.

Hidden states travel as (B·L, D) matrices: TensorFlow runs a rank-3 by rank-2 product on the CPU as a broadcast
batched product, two to four times slower than one matrix product.
"""

import keras
from keras import ops


@keras.saving.register_keras_serializable("fromzero")
class SelfAttention(keras.layers.Layer):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2) with one fused projection and without biases.

    Queries and keys are normalised to unit root mean square per head (Henry et al. 2020, "Query-Key Normalization").
    The output projection starts at zero, so that a block starts as the identity.
    """

    def __init__(self, num_heads, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, hidden_shape, allowed_shape):
        hidden_dim = hidden_shape[-1]
        self.query_key_value = self.add_weight((hidden_dim, 3 * hidden_dim), "glorot_uniform", name="query_key_value")
        self.output_projection = self.add_weight((hidden_dim, hidden_dim), "zeros", name="output_projection")

    def call(self, hidden, allowed):
        """
        Args:
            hidden: float (B·L, D).
            allowed: bool (B, L, L), True where row i may look at column j.

        Returns:
            float (B·L, D).
        """
        batch, length, _ = ops.shape(allowed)
        head_dim = hidden.shape[-1] // self.num_heads
        projected = ops.matmul(hidden, self.query_key_value)  # (B·L, 3·D)
        projected = ops.reshape(projected, (batch, length, 3, self.num_heads, head_dim))
        query, key, value = ops.unstack(ops.transpose(projected, (2, 0, 3, 1, 4)))  # each (B, H, L, D/H)
        query = ops.rms_normalization(query, axis=-1)
        key = ops.rms_normalization(key, axis=-1)
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) * head_dim**-0.5  # (B, H, L, L)
        # Not minus infinity: a padding row may see nothing at all and must not become NaN.
        scores = scores + ops.cast(ops.logical_not(allowed), scores.dtype)[:, None] * -1e4
        mixed = ops.matmul(ops.softmax(scores), value)  # (B, H, L, D/H)
        mixed = ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), (-1, hidden.shape[-1]))  # (B·L, D)
        return ops.matmul(mixed, self.output_projection)

    def compute_output_shape(self, hidden_shape, allowed_shape):
        return hidden_shape

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads}


def same_segment(segment_ids):
    """Which positions of a packed row may see each other: those of the same document.

    Args:
        segment_ids: int32 (B, L), 1… per document, 0 = padding.

    Returns:
        bool (B, L, L).
    """
    return ops.equal(segment_ids[:, :, None], segment_ids[:, None, :])


@keras.saving.register_keras_serializable("fromzero")
class PositionsInSegment(keras.layers.Layer):
    """Positions that start again at 0 in every document of a packed row."""

    def call(self, allowed):
        """
        Args:
            allowed: bool (B, L, L) from `same_segment`.

        Returns:
            int32 (B, L): how many earlier positions belong to the same document.
        """
        # Counting is quadratic, but a hundredth of what attention costs, and needs no running maximum.
        index = ops.arange(ops.shape(allowed)[-1])
        earlier = ops.less(index[None, :], index[:, None])  # (L, L)
        return ops.sum(ops.cast(ops.logical_and(allowed, earlier), "int32"), axis=-1)


@keras.saving.register_keras_serializable("fromzero")
class Unflatten(keras.layers.Layer):
    """(B·L, D) back to (B, L, D), with B and L read off a tensor (B, L)."""

    def call(self, flat, like):
        return ops.reshape(flat, (*ops.shape(like)[:2], flat.shape[-1]))


@keras.saving.register_keras_serializable("fromzero")
class TakePositions(keras.layers.Layer):
    """The vectors at some positions of each row.

    One flat gather: faster on a CPU than a gather with batch dimensions.
    """

    def call(self, hidden, positions):
        """
        Args:
            hidden: float (B, L, D).
            positions: int32 (B, M).

        Returns:
            float (B·M, D).
        """
        batch, length, hidden_dim = ops.shape(hidden)
        flat = positions + ops.arange(batch)[:, None] * length  # (B, M)
        return ops.take(ops.reshape(hidden, (-1, hidden_dim)), ops.reshape(flat, (-1,)), axis=0)


@keras.saving.register_keras_serializable("fromzero")
def squared_relu(x):
    """max(x, 0)² (So et al. 2021, "Primer"): a third of GELU's cost on a CPU and no worse at these sizes."""
    return ops.square(ops.relu(x))


@keras.saving.register_keras_serializable("fromzero")
class Bias(keras.layers.Layer):
    """Adds one learned number per feature of the last axis; starts at zero."""

    def build(self, shape):
        self.bias = self.add_weight((shape[-1],), "zeros", name="bias")

    def call(self, x):
        return x + self.bias


def masked_mean(hidden, segment_ids):
    """The mean over the real positions of a row.

    Args:
        hidden: float (B, L, D).
        segment_ids: int32 (B, L), 0 = padding.

    Returns:
        float (B, D); zeros for a row of padding alone.
    """
    real = ops.cast(ops.not_equal(segment_ids, 0), hidden.dtype)[:, :, None]  # (B, L, 1)
    return ops.sum(hidden * real, axis=1) / ops.maximum(ops.sum(real, axis=1), 1.0)
