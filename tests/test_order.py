"""The rows of a step depend on (seed, step) alone; an epoch visits every row once."""

import numpy as np
import pytest
import tensorflow as tf

from data.order import row_numbers, training_rows

ROWS = np.arange(40 * 4).reshape(40, 4).astype("<u2")


def numbers_of(dataset, count):
    return [(int(step), rows.numpy()) for step, rows in dataset.take(count)]


@pytest.mark.parametrize(("num_rows", "batch_size"), [(40, 8), (37, 5), (1, 4), (3, 8), (1000, 32)])
def test_every_row_once_an_epoch(num_rows, batch_size):
    epochs = 3
    steps = -(-epochs * num_rows // batch_size)
    seen = np.concatenate([row_numbers(0, step, batch_size, num_rows) for step in range(steps)])
    orders = [seen[epoch * num_rows : (epoch + 1) * num_rows] for epoch in range(epochs)]  # across batches' borders
    for order in orders:
        assert sorted(order) == list(range(num_rows))
    if num_rows > 3:
        assert not np.array_equal(orders[0], orders[1]) and not np.array_equal(orders[1], orders[2])
        assert not np.array_equal(orders[0], np.arange(num_rows))


def test_the_order_depends_on_seed_and_step_alone():
    first = row_numbers(3, 7, 8, 1000).numpy()
    np.testing.assert_array_equal(first, row_numbers(3, 7, 8, 1000))
    np.testing.assert_array_equal(first, tf.function(row_numbers)(3, tf.constant(7, tf.int64), 8, 1000))
    assert not np.array_equal(first, row_numbers(4, 7, 8, 1000))
    assert not np.array_equal(first, row_numbers(3, 8, 8, 1000))


def test_orders_have_nothing_in_common():
    epochs = np.array([[row_numbers(0, 10 * epoch + step, 100, 1000).numpy() for step in range(10)]
                       for epoch in range(8)]).reshape(8, 1000)
    correlations = np.corrcoef(np.vstack([np.arange(1000), epochs]))  # also with the order of the file
    assert np.abs(correlations[~np.eye(9, dtype=bool)]).max() < 0.13  # four standard deviations
    assert np.mean(np.abs(np.diff(epochs, axis=1)) < 10) < 0.025  # 0.018 by chance


def test_a_dataset_holds_the_rows_of_its_steps():
    for step, rows in numbers_of(training_rows(ROWS, 5, 0, 8), 12):
        assert rows.shape == (8, 4) and rows.dtype == np.int32
        np.testing.assert_array_equal(rows, ROWS[row_numbers(5, step, 8, len(ROWS)).numpy()])


def test_a_dataset_started_later_goes_on():
    whole = numbers_of(training_rows(ROWS, 5, 0, 7), 20)  # crosses the epoch's end inside a batch
    rest = numbers_of(training_rows(ROWS, 5, 9, 7), 11)
    assert [step for step, _ in whole] == list(range(20))
    for (step, rows), (resumed_step, resumed_rows) in zip(whole[9:], rest, strict=True):
        assert step == resumed_step
        np.testing.assert_array_equal(rows, resumed_rows)
