"""What stands on a backbone: the language-model heads for pretraining, the classifier for a task."""

import keras
from keras import ops

from models.layers import Bias, TakePositions, Unflatten, WeightedSum, masked_mean


def masked_lm(backbone):
    """Predicts the masked tokens from the backbone's vectors at their positions.

    Only the masked positions are projected on the vocabulary: at width 128 the projection of every position would be
    most of the arithmetic. The projection is the embedding matrix itself (Press & Wolf 2017). Save this model with
    `save_weights`: a layer that stands in two models is two layers once Keras 3.15 reads a .keras file.

    Args:
        backbone: a model such as `models.bert.backbone` makes.

    Returns:
        `keras.Model`: {"token_ids", "segment_ids": int32 (B, L), "mask_positions": int32 (B, M)} →
        float32 logits (B, M, V).
    """
    inputs = _token_inputs()
    mask_positions = keras.Input((None,), dtype="int32", name="mask_positions")
    hidden = backbone(inputs)  # (B, L, D)
    masked = TakePositions(name="masked")(hidden, mask_positions)  # (B·M, D)
    logits = backbone.get_layer("token_embedding")(masked, reverse=True)  # (B·M, V)
    # float32 from here on, whatever the precision of the products.
    logits = Bias(name="vocabulary_bias", dtype="float32")(logits)
    logits = Unflatten(name="unflatten", dtype="float32")(logits, mask_positions)  # (B, M, V)
    return keras.Model({**inputs, "mask_positions": mask_positions}, logits, name="masked_lm")


def causal_lm(backbone):
    """Predicts each next token from the backbone's vector before it.

    Args:
        backbone: a model such as `models.gpt.backbone` makes.

    Returns:
        `keras.Model`: {"token_ids", "segment_ids": int32 (B, L)} → float32 logits (B, L, V).
    """
    inputs = _token_inputs()
    hidden = backbone(inputs)  # (B, L, D)
    flat = ops.reshape(hidden, (-1, hidden.shape[-1]))  # (B·L, D)
    logits = backbone.get_layer("token_embedding")(flat, reverse=True)  # (B·L, V)
    logits = Bias(name="vocabulary_bias", dtype="float32")(logits)
    logits = Unflatten(name="unflatten", dtype="float32")(logits, inputs["token_ids"])  # (B, L, V)
    return keras.Model(inputs, logits, name="causal_lm")


def classifier(backbone, num_classes, dropout=0.1):
    """Scores the classes from the mean of the backbone's vectors over the real tokens.

    Args:
        backbone: a model such as `models.bert.backbone` makes.
        num_classes: C.
        dropout: share of the pooled vector dropped in training.

    Returns:
        `keras.Model`: {"token_ids", "segment_ids": int32 (B, L), 0 = padding} → float32 logits (B, C).
    """
    inputs = _token_inputs()
    hidden = backbone(inputs)  # (B, L, D)
    pooled = masked_mean(hidden, inputs["segment_ids"])  # (B, D)
    pooled = keras.layers.Dropout(dropout, name="pooled_dropout")(pooled)
    logits = keras.layers.Dense(num_classes, kernel_initializer="zeros", dtype="float32", name="classes")(pooled)
    return keras.Model(inputs, logits, name="classifier")


def _token_inputs():
    return {name: keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "segment_ids")}


def committee(members):
    """Several classifiers as one: a weighted sum of their log-probabilities.

    Args:
        members: M models of {"token_ids", "segment_ids"} → logits (B, C).

    Returns:
        `keras.Model`: the same inputs → float32 logits (B, C). Its layers "member_0", … are the members; the one weight
        of its layer "votes" is float32 (M,), at first 1 each.
    """
    inputs = _token_inputs()
    members = [keras.Model(member.input, member.output, name=f"member_{number}")  # a name of its own for each
               for number, member in enumerate(members)]
    logits = [ops.log_softmax(member(inputs)) for member in members]
    return keras.Model(inputs, WeightedSum(name="votes")(ops.stack(logits, axis=-1)), name="committee")
