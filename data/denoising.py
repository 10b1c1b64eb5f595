"""Rows of token ids in, what an encoder–decoder learns to fill in out: spans are hidden, the decoder writes them.

Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", section 3.1.4. One
[MASK] stands for each span, in the source where it was and in the target before what stood there; as spans keep their
order, they need no numbers.
"""

import numpy as np
import tensorflow as tf

from data.batching import padded
from data.tokenizer import CLS, MASK, PAD, SEP, SPECIAL_TOKENS

NOISE_RATE, SPAN_LENGTH = 0.15, 3.0  # share of the tokens that are hidden; mean length of a span (3.3.3, 3.3.4)


def noise_mask(length, random):
    """Which of so many tokens are hidden.

    Hidden and visible spans take turns, as many of each; where they are cut is random. The whole is shifted in a ring, so
    that every place is as likely to be hidden as another; a span that lies across the end is two.

    Args:
        length: n.
        random: `np.random.Generator`.

    Returns:
        bool (n,); nothing is hidden of fewer than two tokens.
    """
    if length < 2:
        return np.zeros(length, bool)
    hidden = min(max(round(NOISE_RATE * length), 1), length - 1)
    spans = min(max(round(hidden / SPAN_LENGTH), 1), length - hidden)
    lengths = [np.diff(np.concatenate(([0], 1 + np.sort(random.choice(total - 1, spans - 1, replace=False)), [total])))
               for total in (length - hidden, hidden)]
    mask = np.repeat(np.tile([False, True], spans), np.stack(lengths, axis=1).ravel())
    return np.roll(mask, random.integers(length))


def denoise_rows(rows, seed):
    """Hides spans of every row.

    Args:
        rows: int (B, L), packed documents, each `[CLS] … [SEP]`.
        seed: ints; the same ones hide the same spans.

    Returns:
        dict of np arrays, as `data.pairs.EncodedPairs.batch` gives them: "token_ids", "segment_ids" int32 (B, S);
        "target_ids", "target_segment_ids", "labels" int32 (B, T) and "sample_weight" float32 (B, T), 0 where there is no
        label. A document's target has the number of its source; documents without a hidden token have no target.
    """
    random = np.random.default_rng(seed)
    sources, targets = zip(*(_denoised(row, random) for row in rows))
    token_ids = padded(sources)
    inputs, labels, numbers = (padded(parts) for parts in zip(*targets))
    segments = np.where(token_ids == PAD, 0, np.cumsum(token_ids == CLS, axis=1))
    return {"token_ids": token_ids, "segment_ids": segments.astype(np.int32),
            "target_ids": inputs, "target_segment_ids": numbers, "labels": labels,
            "sample_weight": np.float32(numbers > 0)}


def _denoised(row, random):
    """One row's source int32 (S,), and its targets: what the decoder reads, its labels, their documents' numbers (T,)."""
    row = np.asarray(row, np.int32)
    text = np.flatnonzero(row >= len(SPECIAL_TOKENS))
    hidden = np.zeros(len(row), bool)
    hidden[text] = noise_mask(len(text), random)
    begins = hidden & ~np.concatenate(([False], hidden[:-1]))
    source = np.where(begins, MASK, row)[(~hidden | begins) & (row != PAD)]
    numbers, targets = np.cumsum(row == CLS), []
    for number in np.unique(numbers[hidden]):
        inside = hidden & (numbers == number)
        # A [MASK] before each span: tokens stand behind it one by one.
        target = np.insert(row[inside], np.flatnonzero(begins[inside]), MASK)
        targets.append((np.append(CLS, target), np.append(target, SEP), np.full(len(target) + 1, number)))
    if not targets:  # an empty target could not be padded
        targets = [(np.array([PAD]), np.array([PAD]), np.array([0]))]
    return source, tuple(np.concatenate(parts).astype(np.int32) for parts in zip(*targets))


def denoising_examples(dataset, seed):
    """Hides spans of every batch by its step: resumed training sees what it would have seen.

    Args:
        dataset: `tf.data.Dataset` of (step, rows) from `data.order.training_rows`.
        seed: int.

    Returns:
        `tf.data.Dataset` of what `denoise_rows` returns.
    """
    names = ("token_ids", "segment_ids", "target_ids", "target_segment_ids", "labels", "sample_weight")
    types = [tf.int32] * 5 + [tf.float32]

    def examples(step, rows):
        arrays = tf.numpy_function(lambda step, rows: [denoise_rows(rows, [seed, step])[name] for name in names],
                                   [step, rows], types, stateful=False)
        return {name: tf.ensure_shape(array, [rows.shape[0], None]) for name, array in zip(names, arrays)}

    return dataset.map(examples, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def validation_examples(rows, batch_size):
    """Held-out rows with the same spans hidden at every evaluation: a list of what `denoise_rows` returns, every row once."""
    return [{name: tf.constant(array) for name, array in denoise_rows(rows[start : start + batch_size], [0, start]).items()}
            for start in range(0, len(rows), batch_size)]
