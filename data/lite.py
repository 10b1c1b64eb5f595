"""The code points of a text or a pair in, a row of token ids out, by operations that TensorFlow Lite has too."""

import tensorflow as tf

from data.batching import segment_room
from data.tokenizer import CLS, SEP
from data.words import lite_operations


def encode_lite(tokenizer, text, pair, sequence_length, segment_length):
    """The row of `data.batching.encode_examples`, of texts that have been cleaned.

    Args:
        tokenizer: `Tokenizer`.
        text: int32 (N,), Unicode code points.
        pair: int32 (M,) or None.
        sequence_length, segment_length: as for `encode_examples`; L is the first.

    Returns:
        int32 (1, L), 0 = padding.
    """
    with lite_operations():
        ids = tokenizer.encode_one(text)
        if pair is None:
            places, ids = _segmented(ids, sequence_length, segment_length)
        else:
            room = segment_length - 3
            ids, second = ids[:room], tokenizer.encode_one(pair)[:room]
            length = tf.minimum(tf.size(ids), tf.maximum(room - tf.size(second), room // 2))
            ids = tf.concat([[CLS], ids[:length], [SEP], second[: room - length], [SEP]], 0)
            places = tf.range(tf.size(ids))
    # Of one length whatever comes in: on rows of open length TensorFlow Lite's fastest kernels do not work.
    return tf.scatter_nd(places[:, tf.newaxis], ids, [sequence_length])[tf.newaxis]


def _segmented(ids, sequence_length, segment_length):
    """Ids int32 (T,) and the special tokens around each segment: where they stand in the row, and all of them."""
    inside, room, head = segment_room(sequence_length, segment_length)
    ids = tf.concat([ids[:head], ids[head:][head - room :]], 0)
    count = tf.size(ids)
    segment = tf.range(tf.maximum(-(-count // inside), 1))  # an empty text is one
    begins, ends = segment * (inside + 2), tf.minimum((segment + 1) * inside, count) + 2 * segment + 1
    number = tf.range(count)
    places = tf.concat([begins, number + 1 + 2 * (number // inside), ends], 0)
    return places, tf.concat([tf.fill(tf.shape(segment), CLS), ids, tf.fill(tf.shape(segment), SEP)], 0)
