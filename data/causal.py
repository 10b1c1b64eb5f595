"""Rows of token ids in, causal-language-model examples out: the label of each position is the token after it."""

import numpy as np
import tensorflow as tf

from data.packing import segment_ids
from data.tokenizer import SEP


def next_tokens(rows):
    """Makes each token's successor its label.

    Nothing is predicted across the border of two documents. A document that fills a whole row may have been cut there:
    the [SEP] at its end says nothing about where documents end and is no label.

    Args:
        rows: int32 (B, L).

    Returns:
        dict: "token_ids", "segment_ids", "labels" int32 (B, L); "sample_weight" float32 (B, L), 0 where there is no label.
    """
    segments = segment_ids(rows)
    labels = tf.pad(rows[:, 1:], ((0, 0), (0, 1)))
    same = tf.equal(tf.pad(segments[:, 1:], ((0, 0), (0, 1))), segments)
    last = tf.range(tf.shape(rows)[1]) == tf.shape(rows)[1] - 2  # whose label is the row's last token
    may_be_cut = last & tf.equal(labels, SEP) & (segments[:, :1] == segments[:, -1:])
    counts = same & (segments > 0) & ~may_be_cut
    return {"token_ids": rows, "segment_ids": segments, "labels": tf.where(counts, labels, 0),
            "sample_weight": tf.cast(counts, tf.float32)}


def causal_examples(dataset):
    """`tf.data.Dataset` of (step, rows) from `data.order.training_rows` → of what `next_tokens` returns."""
    return dataset.map(lambda _, rows: next_tokens(rows), num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def validation_examples(rows, batch_size):
    """Held-out rows: a list of what `next_tokens` returns, every row once; the last batch may be smaller."""
    return [next_tokens(tf.constant(np.asarray(rows[start : start + batch_size], np.int32)))
            for start in range(0, len(rows), batch_size)]
