"""Rows of token ids in, masked-language-model examples out (Devlin et al. 2019, section 3.1, task 1)."""

import math

import numpy as np
import tensorflow as tf

from data.packing import segment_ids
from data.tokenizer import MASK, SPECIAL_TOKENS

MASK_SHARE, RANDOM_SHARE = 0.8, 0.1  # the remaining tenth stays as it is


def masked_slots(sequence_length, mask_rate):
    """M, how many places an example has for masked positions."""
    return max(1, math.ceil(sequence_length * mask_rate))


def mask_rows(rows, seed, vocabulary_size, mask_rate=0.15):
    """Hides some tokens of every row.

    Exactly round(rate × number of real tokens) of a row are chosen, at least one if there is any, without
    replacement and never a special token. Of these 80 % become [MASK], 10 % a random token and 10 % stay.

    Args:
        rows: int32 (B, L).
        seed: int (2,): the same seed gives the same masks.
        vocabulary_size: V.
        mask_rate: share of the tokens to hide, in (0, 1].

    Returns:
        dict: "token_ids", "segment_ids" int32 (B, L); "mask_positions", "labels" int32 (B, M) and "sample_weight"
        float32 (B, M), which is 0 where a row has fewer masked tokens than slots.
    """
    seeds = tf.random.split(seed, 3)
    maskable = rows >= len(SPECIAL_TOKENS)
    slots = masked_slots(rows.shape[1], mask_rate)
    # The largest of independent uniform numbers are a sample without replacement.
    scores = tf.where(maskable, tf.random.stateless_uniform(tf.shape(rows), seeds[0]), -1.0)
    positions = tf.math.top_k(scores, slots).indices  # (B, M)
    num_maskable = tf.reduce_sum(tf.cast(maskable, tf.float32), axis=1, keepdims=True)
    wanted = tf.minimum(tf.maximum(tf.round(num_maskable * mask_rate), 1.0), num_maskable)  # (B, 1)
    chosen = tf.cast(tf.range(slots)[None, :], tf.float32) < wanted  # (B, M)

    labels = tf.gather(rows, positions, batch_dims=1)
    kind = tf.random.stateless_uniform(tf.shape(labels), seeds[1])
    random_ids = tf.random.stateless_uniform(tf.shape(labels), seeds[2], len(SPECIAL_TOKENS), vocabulary_size, tf.int32)
    shown = tf.where(kind < MASK_SHARE, MASK, tf.where(kind < MASK_SHARE + RANDOM_SHARE, random_ids, labels))
    shown = tf.where(chosen, shown, labels)
    batch_index = tf.broadcast_to(tf.range(tf.shape(rows)[0])[:, None], tf.shape(positions))
    token_ids = tf.tensor_scatter_nd_update(rows, tf.stack([batch_index, positions], axis=-1), shown)
    return {
        "token_ids": token_ids,
        "segment_ids": segment_ids(rows),
        "mask_positions": tf.where(chosen, positions, 0),
        "labels": tf.where(chosen, labels, 0),
        "sample_weight": tf.cast(chosen, tf.float32),
    }


def masked_examples(dataset, seed, vocabulary_size, mask_rate=0.15):
    """Masks every batch by its step: resumed training sees the masks it would have seen.

    Args:
        dataset: `tf.data.Dataset` of (step, rows) from `data.order.training_rows`.
        seed: int.

    Returns:
        `tf.data.Dataset` of what `mask_rows` returns.
    """
    return dataset.map(
        lambda step, rows: mask_rows(rows, tf.stack([tf.constant(seed, tf.int64), step]), vocabulary_size, mask_rate),
        num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def validation_examples(rows, vocabulary_size, batch_size, mask_rate=0.15, seed=0):
    """Held-out rows under masks that are the same at every evaluation.

    Returns:
        A list of what `mask_rows` returns; every row once, the last batch may be smaller.
    """
    return [mask_rows(tf.constant(np.asarray(rows[start : start + batch_size], np.int32)),
                      tf.constant([seed, start], tf.int64), vocabulary_size, mask_rate)
            for start in range(0, len(rows), batch_size)]
