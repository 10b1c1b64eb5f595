"""Numbers that describe a model: checked when made, written as JSON beside the weights."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
    """A Transformer: an encoder or a causal decoder.

    Attributes:
        vocabulary_size: V, number of token ids.
        hidden_dim: D, width of the residual stream.
        num_layers: number of attention + feed-forward blocks.
        num_heads: H, attention heads; D must be an even multiple of it.
        intermediate_dim: width inside the feed-forward layers.
        sequence_length: the longest document it is trained on, in tokens.
        dropout: share of activations dropped in training, in [0, 1).
    """

    vocabulary_size: int
    hidden_dim: int
    num_layers: int
    num_heads: int
    intermediate_dim: int
    sequence_length: int
    dropout: float = 0.0

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name != "dropout" and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{field.name} must be a whole number of at least 1. Received: {value!r}")
        if self.hidden_dim % (2 * self.num_heads):  # rotary positions turn pairs of a head's features
            raise ValueError("hidden_dim must be an even multiple of num_heads. "
                             f"Received: hidden_dim={self.hidden_dim}, num_heads={self.num_heads}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1). Received: {self.dropout}")


# Layers, width, heads: the sizes of Turc et al. 2019 (arXiv 1908.08962, table 1).
SIZES = {
    "tiny": (2, 128, 2),
    "mini": (4, 256, 4),
    "small": (4, 512, 8),
    "medium": (8, 512, 8),
    "base": (12, 768, 12),
}


def transformer_config(size, *, vocabulary_size, sequence_length, num_layers=None, hidden_dim=None, num_heads=None,
                       intermediate_dim=None):
    """A named size, with whatever is given explicitly put in its place.

    Raises:
        ValueError: the size has no such name, or the numbers do not fit together.
    """
    if size not in SIZES:
        raise ValueError(f"size must be one of {', '.join(SIZES)}. Received: {size}")
    named_layers, named_width, named_heads = SIZES[size]
    width = named_width if hidden_dim is None else hidden_dim
    # Heads of 64 as in every named size, unless the width does not allow it.
    heads = named_heads if width == named_width else max(1, width // 64)
    return TransformerConfig(
        vocabulary_size=vocabulary_size,
        hidden_dim=width,
        num_layers=named_layers if num_layers is None else num_layers,
        num_heads=heads if num_heads is None else num_heads,
        intermediate_dim=4 * width if intermediate_dim is None else intermediate_dim,
        sequence_length=sequence_length,
    )


def from_dict(config_class, values):
    """The inverse of `dataclasses.asdict`; an unknown or missing key is an error."""
    names = {field.name for field in dataclasses.fields(config_class)}
    if set(values) != names:
        raise ValueError(f"{config_class.__name__} needs exactly the keys {sorted(names)}. "
                         f"Received: {sorted(values)}")
    return config_class(**values)
