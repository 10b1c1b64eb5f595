"""Rows keep what matters of a text; epochs visit each example once and pad little."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from data.batching import EncodedExamples, encode_all, encode_examples
from data.packing import segment_ids
from data.tasks import Examples
from data.tokenizer import CLS, PAD, SEP

TEXTS = ["the film was wonderful", "", "这部电影非常好 " * 30, "a", "the film was terrible " * 40]


def rows_of(encoded):
    """Token ids without the padding, one list a row; checks the form on the way."""
    token_ids, numbers = encoded["token_ids"].numpy(), encoded["segment_ids"].numpy()
    assert encoded["token_ids"].dtype == encoded["segment_ids"].dtype == tf.int32
    np.testing.assert_array_equal(numbers, segment_ids(encoded["token_ids"]))
    np.testing.assert_array_equal(numbers == 0, token_ids == PAD)
    rows = [row[row != PAD].tolist() for row in token_ids]
    assert max(map(len, rows)) == token_ids.shape[1]
    return rows


def ids_of(tokenizer, text):
    return tokenizer.encode(tf.constant([text])).to_list()[0]


def segments_of(row):
    """The ids between [CLS] and [SEP] of each segment."""
    starts = [place for place, token in enumerate(row) if token == CLS]
    segments = [row[start:end] for start, end in zip(starts, [*starts[1:], len(row)])]
    assert starts[0] == 0 and all(segment[-1] == SEP for segment in segments)
    return [segment[1:-1] for segment in segments]


def test_short_texts_are_whole(tokenizer):
    rows = rows_of(encode_examples(tokenizer, tf.constant(TEXTS[:2]), None, 64, 64))
    assert rows == [[CLS, *ids_of(tokenizer, TEXTS[0]), SEP], [CLS, SEP]]


@pytest.mark.parametrize("sequence_length", [8, 20, 33])
def test_long_texts_keep_beginning_and_end(tokenizer, sequence_length):
    ids = ids_of(tokenizer, TEXTS[4])
    (row,) = rows_of(encode_examples(tokenizer, tf.constant(TEXTS[4:]), None, sequence_length, sequence_length))
    assert len(row) == sequence_length
    (inside,) = segments_of(row)
    head = (sequence_length - 2) // 4
    assert inside == ids[:head] + ids[head - (sequence_length - 2):]


@pytest.mark.parametrize(("sequence_length", "segment_length"), [(64, 16), (60, 16), (33, 16), (34, 16), (35, 16)])
def test_texts_beyond_a_segment_become_several(tokenizer, sequence_length, segment_length):
    rows = rows_of(encode_examples(tokenizer, tf.constant(TEXTS), None, sequence_length, segment_length))
    for text, row in zip(TEXTS, rows, strict=True):
        assert len(row) <= sequence_length
        segments = segments_of(row)
        assert all(len(segment) == segment_length - 2 for segment in segments[:-1])
        assert len(segments[-1]) <= segment_length - 2
        ids, kept = ids_of(tokenizer, text), sum(segments, [])
        if len(ids) == len(kept):
            assert kept == ids
        else:  # the row is as full as it can be, with the beginning and the end
            assert len(row) >= sequence_length - 2
            head = len(kept) // 4
            assert kept == ids[:head] + ids[head - len(kept):]
    assert max(map(len, map(segments_of, rows))) > 1


def test_of_a_pair_the_longer_is_cut_first(tokenizer):
    short, long = "the film", TEXTS[4]
    first = tf.constant([short, long, long, short, ""])
    second = tf.constant([long, short, long, short, ""])
    rows = rows_of(encode_examples(tokenizer, first, second, 24, 24))
    ids, long_ids = ids_of(tokenizer, short), ids_of(tokenizer, long)
    room = 24 - 3
    assert rows[0] == [CLS, *ids, SEP, *long_ids[: room - len(ids)], SEP]
    assert rows[1] == [CLS, *long_ids[: room - len(ids)], SEP, *ids, SEP]
    assert rows[2] == [CLS, *long_ids[: room // 2], SEP, *long_ids[: room - room // 2], SEP]
    assert rows[3] == [CLS, *ids, SEP, *ids, SEP]
    assert rows[4] == [CLS, SEP, SEP]


@pytest.mark.parametrize("with_pairs", [False, True])
def test_graph_and_eager_agree(tokenizer, with_pairs):
    texts = tf.constant(TEXTS)
    pairs = texts[::-1] if with_pairs else None
    expected = encode_examples(tokenizer, texts, pairs, 32, 16)
    graph = tf.function(lambda texts, pairs: encode_examples(tokenizer, texts, pairs, 32, 16))(texts, pairs)
    dataset = tf.data.Dataset.from_tensor_slices((texts, texts if pairs is None else pairs)).batch(9).map(
        lambda text, pair: encode_examples(tokenizer, text, pair if with_pairs else None, 32, 16))
    for found in (graph, next(iter(dataset))):
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])


def test_all_examples_are_encoded_in_their_order(tokenizer):
    texts = TEXTS * 120  # more batches than one
    examples = Examples(texts, None, np.arange(len(texts), dtype=np.int32), ("a",))
    done = []
    encoded = encode_all(tokenizer, examples, 32, 32, done.append)
    assert len(encoded) == sum(done) == 600 and len(done) == 3
    for text, row in zip(TEXTS, encoded.rows):
        assert row.tolist() == rows_of(encode_examples(tokenizer, tf.constant([text]), None, 32, 32))[0]
    np.testing.assert_array_equal(encoded.labels, examples.labels)


def some_encoded(count=500, seed=0):
    random = np.random.default_rng(seed)
    rows = [np.array([CLS, *random.integers(5, 99, random.integers(0, 60)), SEP], np.int32) for _ in range(count)]
    for number, row in enumerate(rows):
        rows[number] = np.append(row, 100 + number).astype(np.int32)  # tells the examples apart
    return EncodedExamples(rows, random.integers(0, 3, count).astype(np.int32))


def seen(batches):
    return np.concatenate([[row[row != PAD][-1] - 100 for row in batch["token_ids"]] for batch in batches])


def test_an_epoch_visits_every_example_once():
    encoded = some_encoded()
    batches = list(encoded.epoch(16, [0, 0]))
    order = seen(batches)
    assert sorted(order) == list(range(500))
    assert [len(batch["labels"]) for batch in batches].count(16) == 31  # all but the last four
    for batch in batches:
        np.testing.assert_array_equal(batch["labels"], encoded.labels[seen([batch])])
        np.testing.assert_array_equal(batch["segment_ids"] == 0, batch["token_ids"] == PAD)
        assert batch["sample_weight"].dtype == np.float32 and (batch["sample_weight"] == 1).all()
        assert {value.dtype for value in (batch["token_ids"], batch["segment_ids"])} == {np.dtype(np.int32)}
    np.testing.assert_array_equal(order, seen(encoded.epoch(16, [0, 0])))
    assert not np.array_equal(order, seen(encoded.epoch(16, [0, 1])))
    assert not np.array_equal(order, seen(encoded.epoch(16, [1, 0])))


def test_little_is_padding():
    encoded = some_encoded(3000)
    for batches in (encoded.epoch(32, [0, 0]), encoded.in_order_of_length(32)):
        assert np.mean(np.concatenate([np.ravel(batch["token_ids"] == PAD) for batch in batches])) < 0.05


def test_batches_of_an_epoch_are_not_sorted_by_length():
    widths = [batch["token_ids"].shape[1] for batch in some_encoded(3000).epoch(32, [0, 0])]
    assert abs(np.corrcoef(widths, np.arange(len(widths)))[0, 1]) < 0.3


def test_endless_goes_through_epochs():
    encoded = some_encoded(50)
    stream = encoded.endless(16, 7)
    epochs = [seen([next(stream) for _ in range(4)]) for _ in range(3)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])
    np.testing.assert_array_equal(epochs[2], seen(encoded.epoch(16, [7, 2])))


def test_measuring_visits_every_example_once():
    encoded = some_encoded(77)
    batches = list(encoded.in_order_of_length(10))
    assert sorted(seen(batches)) == list(range(77)) and len(batches) == 8
    widths = [batch["token_ids"].shape[1] for batch in batches]
    assert widths == sorted(widths)


def test_class_weights_reach_the_batches():
    encoded = some_encoded(40)
    weights = np.float32([0.5, 1.0, 4.0])
    for batch in encoded.epoch(16, [0, 0], weights):
        np.testing.assert_array_equal(batch["sample_weight"], weights[batch["labels"]])


def test_segments_are_numbered_in_batches():
    rows = [np.int32([CLS, 7, SEP, CLS, 8, SEP]), np.int32([CLS, SEP])]
    batch = EncodedExamples(rows, np.int32([0, 1])).batch([1, 0])
    assert batch["segment_ids"].tolist() == [[1, 1, 0, 0, 0, 0], [1, 1, 1, 2, 2, 2]]
    assert batch["labels"].tolist() == [1, 0]


def test_stretches_go_through_epochs_without_padding():
    encoded = some_encoded(50)
    weights = np.float32([0.5, 1.0, 4.0])
    stream = encoded.stretches(20, 7, weights)
    stretches = [next(stream) for _ in range(5)]
    order = []
    for stretch in stretches:
        rows = np.split(stretch["token_ids"], np.cumsum(stretch["lengths"])[:-1])
        numbers = [row[-1] - 100 for row in rows]
        assert len(numbers) == 20 and all(np.array_equal(row, encoded.rows[n]) for row, n in zip(rows, numbers))
        np.testing.assert_array_equal(stretch["labels"], encoded.labels[numbers])
        np.testing.assert_array_equal(stretch["sample_weight"], weights[stretch["labels"]])
        order += numbers
    assert sorted(order[:50]) == sorted(order[50:]) == list(range(50)) and order[:50] != order[50:]
    again = next(encoded.stretches(20, 7, weights))
    np.testing.assert_array_equal(again["token_ids"], stretches[0]["token_ids"])


def test_measuring_without_padding_visits_every_example_in_order():
    encoded = some_encoded(77)
    parts = list(encoded.flat_in_order(10))
    np.testing.assert_array_equal(np.concatenate([part["token_ids"] for part in parts]), np.concatenate(encoded.rows))
    np.testing.assert_array_equal(np.concatenate([part["labels"] for part in parts]), encoded.labels)
    assert [len(part["lengths"]) for part in parts] == [10] * 7 + [7]


def test_a_training_goes_on_at_any_batch():
    labels = np.arange(150, dtype=np.int32).reshape(75, 2)
    examples = EncodedExamples([np.full(length, 9) for length in np.random.default_rng(0).integers(2, 40, 75)], labels)
    whole = list(itertools.islice(examples.endless(4, 1), 70))  # of 19 batches an epoch
    for step in (0, 1, 18, 19, 45):
        for one, other in zip(examples.endless(4, 1, step=step), whole[step:]):
            for name in other:
                np.testing.assert_array_equal(one[name], other[name])
    assert whole[0]["labels"].shape == whole[0]["sample_weight"].shape == (4, 2)
