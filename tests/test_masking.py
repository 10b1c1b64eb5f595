"""Masks have the wanted rates, never hide a special token, and are a function of their seed."""

import numpy as np
import pytest
import tensorflow as tf

from data.masking import mask_rows, masked_examples, masked_slots, validation_examples
from data.order import training_rows
from data.packing import segment_ids
from data.tokenizer import CLS, MASK, PAD, SEP, SPECIAL_TOKENS

VOCABULARY_SIZE = 1000


def some_rows(count=1000, length=128, seed=0):
    """Packed rows: two documents and some padding in each."""
    random = np.random.default_rng(seed)
    rows = random.integers(len(SPECIAL_TOKENS), VOCABULARY_SIZE, (count, length)).astype(np.int32)
    rows[:, 0], rows[:, 60], rows[:, 61] = CLS, SEP, CLS
    for row, end in zip(rows, random.integers(70, length + 1, count)):
        row[end - 1], row[end:] = SEP, PAD
    return tf.constant(rows)


def mask(rows, seed=(0, 0), rate=0.15):
    return {name: value.numpy() for name, value in mask_rows(rows, tf.constant(seed, tf.int64), VOCABULARY_SIZE,
                                                             rate).items()}


def test_rates_over_a_hundred_thousand_tokens():
    rows = some_rows(1200)
    example = mask(rows)
    chosen = example["sample_weight"] == 1
    maskable = (rows.numpy() >= len(SPECIAL_TOKENS)).sum()
    assert maskable > 100_000
    assert chosen.sum() / maskable == pytest.approx(0.15, abs=0.01)
    shown = np.take_along_axis(example["token_ids"], example["mask_positions"], axis=1)[chosen]
    labels = example["labels"][chosen]
    assert np.mean(shown == MASK) == pytest.approx(0.8, abs=0.01)
    assert np.mean(shown == labels) == pytest.approx(0.1, abs=0.01)
    assert np.mean((shown != MASK) & (shown != labels)) == pytest.approx(0.1, abs=0.01)
    drawn = shown[(shown != MASK) & (shown != labels)]
    assert drawn.min() >= len(SPECIAL_TOKENS) and drawn.max() < VOCABULARY_SIZE and len(np.unique(drawn)) > 500
    # Every place of a row is as likely as any other.
    places = np.bincount(example["mask_positions"][chosen], minlength=128)[1:60]
    assert places.min() > 100 and places.max() < 260


def test_only_chosen_positions_change_and_never_special_ones():
    rows = some_rows(200)
    example = mask(rows)
    before = rows.numpy()
    chosen = example["sample_weight"] == 1
    allowed = np.zeros(before.shape, bool)
    for row in range(len(before)):
        positions = example["mask_positions"][row, chosen[row]]
        assert len(set(positions)) == len(positions)  # without replacement
        allowed[row, positions] = True
        np.testing.assert_array_equal(before[row, positions], example["labels"][row, chosen[row]])
        assert len(positions) == round(0.15 * (before[row] >= len(SPECIAL_TOKENS)).sum())
    assert (before[allowed] >= len(SPECIAL_TOKENS)).all()
    np.testing.assert_array_equal(example["token_ids"][~allowed], before[~allowed])
    np.testing.assert_array_equal(example["segment_ids"], segment_ids(rows))  # of the rows before they were masked
    assert not example["labels"][~chosen].any() and not example["mask_positions"][~chosen].any()
    assert example["token_ids"].dtype == example["labels"].dtype == np.int32
    assert example["sample_weight"].shape == (200, masked_slots(128, 0.15)) == (200, 20)


def test_rate_one_masks_everything():
    rows = some_rows(5, 72)
    example = mask(rows, rate=1.0)
    maskable = rows.numpy() >= len(SPECIAL_TOKENS)
    np.testing.assert_array_equal(example["sample_weight"].sum(axis=1), maskable.sum(axis=1))
    for row in range(5):
        positions = example["mask_positions"][row, example["sample_weight"][row] == 1]
        assert sorted(positions) == np.flatnonzero(maskable[row]).tolist()


def test_short_and_empty_rows():
    rows = tf.constant([[PAD] * 8, [CLS, SEP] + [PAD] * 6, [CLS, 9, SEP] + [PAD] * 5])
    example = mask(rows)
    assert example["sample_weight"].sum(axis=1).tolist() == [0, 0, 1]
    np.testing.assert_array_equal(example["token_ids"][:2], rows[:2])
    assert example["mask_positions"][2, 0] == 1 and example["labels"][2, 0] == 9


def test_masks_are_a_function_of_the_seed():
    rows = some_rows(20)
    first, same, other = mask(rows, (3, 5)), mask(rows, (3, 5)), mask(rows, (3, 6))
    for name in first:
        np.testing.assert_array_equal(first[name], same[name])
    assert not np.array_equal(first["mask_positions"], other["mask_positions"])
    assert not np.array_equal(first["mask_positions"], mask(rows, (4, 5))["mask_positions"])


def test_a_resumed_dataset_sees_the_same_masks():
    rows = some_rows(30).numpy()

    def examples(first_step, count):
        return list(masked_examples(training_rows(rows, 1, first_step, 4), 1, VOCABULARY_SIZE).take(count))

    whole, rest = examples(0, 12), examples(7, 5)
    for expected, found in zip(whole[7:], rest, strict=True):
        for name in expected:
            np.testing.assert_array_equal(expected[name], found[name])
    # Steps 0 and 7.5 read the same rows in another order; no two steps have the same masks.
    assert len({tuple(example["mask_positions"][0].numpy()) for example in whole}) == 12


def test_validation_masks_are_fixed_and_cover_every_row():
    rows = some_rows(23).numpy()
    first, again = (validation_examples(rows, VOCABULARY_SIZE, 10) for _ in range(2))
    assert [len(batch["token_ids"]) for batch in first] == [10, 10, 3]
    for one, other in zip(first, again, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    restored = []
    for batch in first:
        ids = batch["token_ids"].numpy().copy()
        for row, weight in enumerate(batch["sample_weight"].numpy()):
            ids[row, batch["mask_positions"].numpy()[row, weight == 1]] = batch["labels"].numpy()[row, weight == 1]
        restored.append(ids)
    np.testing.assert_array_equal(np.concatenate(restored), rows)
