"""(seed, step) in, the rows of that step out: the order of the data is a pure function, so resuming replays nothing."""

import numpy as np
import tensorflow as tf


def row_numbers(seed, step, batch_size, num_rows):
    """Which rows make the batch of a step.

    Each epoch visits every row once in an order of its own: a stateless shuffle, no buffer, no state.

    Args:
        seed: int.
        step: int64 scalar, from 0.
        batch_size: B.
        num_rows: rows in the corpus, at least 1.

    Returns:
        int64 (B,).
    """
    place = tf.cast(step, tf.int64) * batch_size + tf.range(batch_size, dtype=tf.int64)  # rows seen before, in all
    epoch = place // num_rows
    seeds = tf.stack([tf.fill([batch_size], tf.constant(seed, tf.int64)), epoch, tf.zeros_like(epoch)], axis=1)
    last = tf.fill([batch_size], tf.constant(num_rows - 1, tf.int64))
    # The operation behind tf.random.experimental.index_shuffle, whose wrapper does not take a seed for each index.
    # With its default of 4 rounds the order of 1,000 rows keeps a correlation of up to 0.42 with the file's, and
    # epochs one of 0.15 with each other; with 8 there is no more than chance gives.
    return tf.raw_ops.RandomIndexShuffle(index=place % num_rows, seed=seeds, max_index=last, rounds=8)


def training_rows(rows, seed, first_step, batch_size):
    """The endless sequence of a corpus's batches from a step on.

    Args:
        rows: array (N, L) of ids, memory-mapped or not.
        seed: int.
        first_step: the step of the first batch.
        batch_size: B.

    Returns:
        `tf.data.Dataset` of (step int64, rows int32 (B, L)).
    """
    length = rows.shape[1]

    def read(step):
        numbers = row_numbers(seed, step, batch_size, len(rows))
        batch = tf.numpy_function(lambda n: np.asarray(rows[n], np.int32), [numbers], tf.int32, stateful=False)
        return step, tf.ensure_shape(batch, (batch_size, length))

    steps = tf.data.Dataset.range(first_step, np.iinfo(np.int64).max)
    return steps.map(read, num_parallel_calls=tf.data.AUTOTUNE)
