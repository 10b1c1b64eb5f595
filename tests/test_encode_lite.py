"""A row by TensorFlow Lite's operations is the row that training has read."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from data.batching import cleaned, encode_examples
from data.lite import encode_lite
from data.words import count_below, lite_operations, ranges

TEXTS = st.one_of(st.text(), st.text("ab 很好。…½\u0301!'", max_size=200),
                  st.lists(st.sampled_from("the film was wonderful 非常好 x!?".split())).map(" ".join))


POINTS = tf.TensorSpec([None], tf.int32)


def code_points(text):
    """Of a text as `cleaned` leaves it."""
    return tf.constant([ord(character) for character in cleaned(tf.constant([text]))[0].numpy().decode()], tf.int32)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 9)), st.lists(st.integers(0, 70)), st.sampled_from([1, 32]))
def test_ranges(starts, lengths, step):
    count = min(len(starts), len(lengths))
    starts = tf.constant(starts[:count], tf.int64)
    limits = starts + tf.constant(lengths[:count], tf.int64)
    expected = ranges(starts, limits, step)
    with lite_operations():
        found = ranges(starts, limits, step)
    for one, other in zip(found, (expected.rt_nested_splits, expected.rt_dense_values)):
        assert one.dtype == tf.int64
        np.testing.assert_array_equal(one, other)


@given(st.sets(st.integers(0, 50)), st.lists(st.integers(0, 51)))
def test_count_below(ascending, values):
    ascending, values = (tf.constant(sorted(numbers), tf.int64) for numbers in (ascending, [*values, 51]))
    expected = count_below(ascending, values)
    with lite_operations():
        np.testing.assert_array_equal(count_below(ascending, values), expected)


@pytest.mark.parametrize(("sequence_length", "segment_length"), [(16, 16), (40, 12), (13, 5), (9, 30)])
def test_rows(tokenizer, sequence_length, segment_length):
    lengths = sequence_length, segment_length
    one = tf.function(lambda text: encode_lite(tokenizer, text, None, *lengths), [POINTS], autograph=False)
    two = tf.function(lambda text, pair: encode_lite(tokenizer, text, pair, *lengths), [POINTS] * 2, autograph=False)

    @settings(max_examples=50, deadline=None)
    @given(st.lists(TEXTS, min_size=1, max_size=2 if segment_length <= sequence_length else 1))
    def as_trained(texts):
        found = (one, two)[len(texts) - 1](*map(code_points, texts))
        expected = encode_examples(tokenizer, *(tf.constant([text]) for text in texts), *[None] * (2 - len(texts)),
                                   *lengths)["token_ids"]
        assert found.shape == (1, sequence_length)
        np.testing.assert_array_equal(found, tf.pad(expected, [[0, 0], [0, sequence_length - expected.shape[1]]]))

    as_trained()
