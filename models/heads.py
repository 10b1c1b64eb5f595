"""What stands on a backbone: the language-model heads for pretraining, a classifier, the span of an answer."""

import keras
from keras import ops

from models import transformer
from models.attention import same_segment
from models.layers import Bias, TakePositions, Unflatten, WeightedSum, masked_mean

FORBIDDEN = -1e4  # the logit of a token that is no part of the text
IMPOSSIBLE = -1e9  # less than two of those


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


def span(backbone, separator_id, dropout=0.1):
    """Scores where an answer starts and where it ends in rows `[CLS] question [SEP] text [SEP]`.

    Two vectors are multiplied with each token's (Devlin et al. 2019, section 4.2); the first token, [CLS], stands for
    no answer (section 4.3). What `question_features` says of each token is added to its embedding, so that the encoder
    need not find out first which words stand on both sides.

    Args:
        backbone: a model such as `models.bert.backbone` makes; its layers become layers of this model.
        separator_id: of [SEP].
        dropout: share of the last vectors dropped in training.

    Returns:
        `keras.Model`: {"token_ids", "segment_ids": int32 (B, L), 0 = padding} → float32 logits (B, 2, L) of the start
        and of the end, -1e4 where neither can be. With labels int32 (B, 2) the mean cross-entropy is the paper's loss.
    """
    inputs = _token_inputs()
    token_ids, segment_ids = inputs["token_ids"], inputs["segment_ids"]
    layers = {layer.name: layer for layer in backbone.layers}
    hidden_dim = backbone.output.shape[-1]
    features, in_text = question_features(token_ids, segment_ids, separator_id)
    features = ops.reshape(features, (-1, features.shape[-1]))  # (B·L, F)
    x = ops.reshape(transformer.embed(layers, token_ids, segment_ids), (-1, hidden_dim))  # (B·L, D)
    x = x + keras.layers.Dense(hidden_dim, use_bias=False, name="question_features")(features)
    x = transformer.encode(layers, x, same_segment(segment_ids))
    x = keras.layers.Dropout(dropout, name="span_dropout")(x)
    logits = keras.layers.Dense(2, kernel_initializer="zeros", dtype="float32", name="span")(x)  # (B·L, 2)
    logits = ops.transpose(Unflatten(name="unflatten", dtype="float32")(logits, token_ids), (0, 2, 1))  # (B, 2, L)
    possible = ops.logical_or(in_text, ops.equal(_positions(token_ids), 0))[:, None]  # (B, 1, L)
    return keras.Model(inputs, ops.where(possible, logits, FORBIDDEN), name="span")


def question_features(token_ids, segment_ids, separator_id):
    """What each token of `[CLS] question [SEP] text [SEP]` has to do with the other side.

    Whether it stands there too is DrQA's exact match (Chen et al. 2017, "Reading Wikipedia to Answer Open-Domain
    Questions", section 3.2), here for the question's tokens as well.

    Args:
        token_ids, segment_ids: int32 (B, L).

    Returns:
        (float32 (B, L, 4): 1 for a token of the question, of the text, that stands on the other side too, that does so
        together with the token before or after it; bool (B, L): a token of the text).
    """
    is_separator = ops.equal(token_ids, separator_id)
    separators = ops.cumsum(ops.cast(is_separator, "int32"), axis=1)
    in_question = ops.logical_and(ops.equal(separators, 0), ops.greater(_positions(token_ids), 0))
    in_text = ops.logical_and(ops.equal(separators, 1), ops.logical_not(is_separator))
    in_text = ops.logical_and(in_text, ops.not_equal(segment_ids, 0))
    sides = ops.logical_and(in_text[:, :, None], in_question[:, None, :])
    same = ops.logical_and(ops.equal(token_ids[:, :, None], token_ids[:, None, :]), sides)  # (B, L, L)
    # What `roll` brings from the end to the beginning meets a special token there.
    pair = ops.logical_and(same, ops.roll(same, (1, 1), (1, 2)))
    pair = ops.logical_or(pair, ops.roll(pair, (-1, -1), (1, 2)))
    matches = [ops.logical_or(ops.any(matrix, axis=2), ops.any(matrix, axis=1)) for matrix in (same, pair)]
    features = ops.stack([in_question, in_text, *matches], axis=-1)
    return ops.cast(features, "float32"), in_text


def _positions(token_ids):
    """0, 1, 2 … along each row, int32 (B, L); not arange: a functional model's lengths are open."""
    return ops.cumsum(ops.ones_like(token_ids), axis=1) - 1


def best_spans(logits, allowed, longest):
    """The most probable answer of each row, and how probable it is that there is none.

    Args:
        logits: float32 (B, 2, L) of `span`.
        allowed: bool (B, L), True for a token that an answer may start or end with.
        longest: of an answer, in tokens.

    Returns:
        (start, end: int32 (B,); logarithms float32 (B,) of the probability of that answer, below -1e8 where none is
        allowed, and of the probability of no answer).
    """
    log_probabilities = ops.log_softmax(logits, axis=-1)
    nothing = ops.sum(log_probabilities[:, :, 0], axis=1)  # (B,)
    start, end = ops.unstack(ops.where(allowed[:, None], log_probabilities, IMPOSSIBLE), axis=1)  # (B, L)
    length = ops.shape(logits)[2]
    places = ops.arange(length)
    distance = places[None, :] - places[:, None]  # (L, L)
    fits = ops.logical_and(distance >= 0, distance < longest)
    score = ops.where(fits, start[:, :, None] + end[:, None, :], 2 * IMPOSSIBLE)  # (B, L, L)
    score = ops.reshape(score, (-1, length * length))
    best = ops.argmax(score, axis=1)  # (B,)
    return best // length, best % length, ops.max(score, axis=1), nothing
