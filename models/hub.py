"""A preset of KerasHub in, its encoder on our rows out: public weights of BERT, DistilBERT and ELECTRA."""

import dataclasses
import sys

import keras
from keras import ops

from models.attention import causal, mix_values, same_segment
from models.layers import Unflatten

FAMILIES = ("BertBackbone", "DistilBertBackbone", "ElectraBackbone")


@dataclasses.dataclass(frozen=True)
class HubConfig:
    """A backbone of KerasHub, by its arguments.

    Attributes:
        architecture: its class, one of `FAMILIES`.
        vocabulary_size: V, number of token ids.
        hidden_dim: D, width.
        embedding_dim: width of the embeddings; only ELECTRA's differs from D.
        num_layers: number of attention + feed-forward blocks.
        num_heads: attention heads.
        intermediate_dim: width inside the feed-forward layers.
        sequence_length: positions it has embeddings for: the longest segment.
        num_segments: texts that segment embeddings tell apart; 0 = it has none.
        separator_id: the token after each text of a pair.
        dropout: share of activations dropped in training, in [0, 1).
    """

    architecture: str
    vocabulary_size: int
    hidden_dim: int
    embedding_dim: int
    num_layers: int
    num_heads: int
    intermediate_dim: int
    sequence_length: int
    num_segments: int
    separator_id: int
    dropout: float

    def __post_init__(self):
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1). Received: {self.dropout}")


def backbone(config, name="backbone", source=None):
    """Token ids in, one vector per position out.

    Segments of a row do not see each other and each counts its positions from 0, so a row of three segments gives the
    same vectors as three rows of one. In a segment of two texts, `… [SEP] … [SEP]`, the second one has segment
    embedding 1 (Devlin et al. 2019, figure 2).

    Args:
        config: `HubConfig`.
        source: KerasHub's backbone whose layers these are to be; a new one with fresh weights if not given.

    Returns:
        `keras.Model`: {"token_ids": int32 (B, L), "segment_ids": int32 (B, L), 0 = padding} → float (B, L, D).
    """
    source = source or _fresh(config)
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    segment_ids = keras.Input((None,), dtype="int32", name="segment_ids")
    is_real = ops.cast(ops.not_equal(segment_ids, 0), "int32")
    positions = (ops.sum(ops.cast(causal(segment_ids), "int32"), axis=-1) - 1) * is_real  # (B, L)
    if config.num_segments:
        is_separator = ops.cast(ops.equal(token_ids, config.separator_id), "int32")
        # Of the separators before a position, each of the row's earlier segments has one.
        text = ops.cumsum(is_separator, axis=1) - is_separator - (segment_ids - 1)
        text = ops.clip(text, 0, config.num_segments - 1) * is_real  # (B, L)
        tokens = source.token_embedding(token_ids)
        x = source.embeddings_add((tokens, source.position_embedding(tokens, positions=positions),
                                   source.segment_embedding(text)))
    else:
        x = source.embeddings(token_ids, positions=positions)
    x = source.embeddings_dropout(source.embeddings_layer_norm(x))
    if config.embedding_dim != config.hidden_dim:
        x = source.embeddings_projection(x)
    allowed = same_segment(segment_ids)  # (B, L, L)
    x = ops.reshape(x, (-1, config.hidden_dim))  # (B·L, D)
    for layer in source.transformer_layers:
        x = Block(layer)(x, allowed)
    x = Unflatten(name="unflatten")(x, token_ids)
    return keras.Model({"token_ids": token_ids, "segment_ids": segment_ids}, x, name=name)


class Block(keras.layers.Layer):
    """KerasHub's `TransformerEncoder` on matrices (B·L, D).

    On (B, L, D) each dense layer is three operations or more on a CPU, on matrices one, its bias and its GELU included:
    batches of 32 texts of 64 tokens take four fifths of the time, 4 × 256.
    """

    def __init__(self, layer):
        """
        Args:
            layer: KerasHub's, built.
        """
        super().__init__(name=layer.name)
        self.layer = layer

    def call(self, hidden, allowed):
        """
        Args:
            hidden: float (B·L, D).
            allowed: bool (B, L, L), True where row i may look at column j.

        Returns:
            float (B·L, D).
        """
        layer, attention = self.layer, self.layer._self_attention_layer
        batch, length, _ = ops.shape(allowed)

        def project(x, dense):
            bias = ops.reshape(dense.bias, (-1,))
            return ops.add(ops.matmul(x, ops.reshape(dense.kernel, (-1, bias.shape[0]))), bias)

        def heads(dense):
            projected = ops.reshape(project(hidden, dense), (batch, length, attention.num_heads, attention.key_dim))
            return ops.transpose(projected, (0, 2, 1, 3))  # (B, H, L, D/H)

        query, key, value = map(heads, (attention.query_dense, attention.key_dense, attention.value_dense))
        mixed = mix_values(query, key, value, allowed, attention._dropout_layer)  # (B·L, D)
        attended = layer._self_attention_dropout(project(mixed, attention.output_dense))
        hidden = layer._self_attention_layer_norm(hidden + attended)
        wide = layer._feedforward_intermediate_dense(hidden)
        hidden = hidden + layer._feedforward_dropout(layer._feedforward_output_dense(wide))
        return layer._feedforward_layer_norm(hidden)

    def compute_output_shape(self, hidden_shape, allowed_shape):
        return hidden_shape


def _fresh(config):
    """KerasHub's backbone of a config."""
    arguments = {"num_layers": config.num_layers, "num_heads": config.num_heads, "hidden_dim": config.hidden_dim,
                 "intermediate_dim": config.intermediate_dim, "dropout": config.dropout,
                 "max_sequence_length": config.sequence_length}
    if config.num_segments:
        arguments["num_segments"] = config.num_segments
    if config.architecture == "ElectraBackbone":
        arguments |= {"vocab_size": config.vocabulary_size, "embedding_dim": config.embedding_dim}
    else:
        arguments["vocabulary_size"] = config.vocabulary_size
    return getattr(import_keras_hub().models, config.architecture)(**arguments)


def config_of(source, separator_id):
    """The `HubConfig` of KerasHub's backbone `source`."""
    embeddings = source.token_embedding
    return HubConfig(
        architecture=type(source).__name__, vocabulary_size=embeddings.input_dim, hidden_dim=source.hidden_dim,
        embedding_dim=embeddings.output_dim, num_layers=source.num_layers, num_heads=source.num_heads,
        intermediate_dim=source.intermediate_dim, sequence_length=source.max_sequence_length,
        num_segments=getattr(source, "num_segments", 0), separator_id=separator_id, dropout=source.dropout)


def load_preset(preset):
    """Loads a preset, from KerasHub's cache or, where it is not there, over the network.

    Args:
        preset: a name of KerasHub's, such as bert_tiny_en_uncased; kaggle://… or hf://…; or a preset's folder.

    Returns:
        (KerasHub's backbone, float32; KerasHub's `WordPieceTokenizer`, for its vocabulary and settings: inside a graph
        it would want TensorFlow Text).

    Raises:
        ValueError: there is no such preset, it cannot be read or downloaded, or is of another family.
    """
    keras_hub = import_keras_hub()
    from keras_hub.src.utils.preset_utils import get_preset_loader

    try:
        # Before any weights are fetched: those of other families may be large.
        family = get_preset_loader(preset).check_backbone_class()
        if family.__name__ in FAMILIES:
            tokenizer = keras_hub.models.Tokenizer.from_preset(preset)
            if isinstance(tokenizer, keras_hub.tokenizers.WordPieceTokenizer):
                return family.from_preset(preset, dtype="float32"), tokenizer
            received = type(tokenizer).__name__
        else:
            received = family.__name__
    except Exception as error:  # the libraries with which KerasHub downloads have no common class of errors
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            "hub: takes a preset of KerasHub by its name, hf://OWNER/NAME or its folder, and downloads what is not "
            f"there. Received: hub:{preset}, which cannot be loaded ({reason}). Without network access: on a machine "
            "that has it, save_to_preset(FOLDER) both keras_hub.models.Backbone.from_preset(NAME) and "
            "keras_hub.models.Tokenizer.from_preset(NAME), then give hub:FOLDER here") from error
    raise ValueError("a preset of KerasHub must be of BERT, DistilBERT or ELECTRA, with WordPiece. "
                     f"Received: hub:{preset}, with {received}; choose another one")


def import_keras_hub():
    """The package keras_hub, without TensorFlow Text.

    KerasHub imports that where it can, for its tokenizers inside of graphs; nothing here needs those, and one made for
    another TensorFlow would end the import.
    """
    is_new = "tensorflow_text" not in sys.modules
    if is_new:
        sys.modules["tensorflow_text"] = None  # to import it is now an ImportError, which KerasHub expects
    try:
        import keras_hub
    finally:
        if is_new:
            del sys.modules["tensorflow_text"]
    return keras_hub
