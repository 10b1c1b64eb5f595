"""Texts in, batches of token ids out: rows of similar length together, so that little is padding."""

import dataclasses
import itertools
import math

import numpy as np
import tensorflow as tf

from data.packing import segment_ids
from data.tokenizer import CLS, PAD, SEP

WINDOW = 50  # batches among which examples of similar length find each other
HEAD_SHARE = 0.25  # of a text too long: its first quarter's worth and its end (Sun et al. 2019, section 5.3.1)


def encode_examples(tokenizer, texts, pairs, sequence_length, segment_length):
    """Rows `[CLS] text [SEP]` or `[CLS] text [SEP] pair [SEP]`. Runs eagerly, in `tf.data` and in a SavedModel.

    A single text longer than a segment is cut into several, `[CLS] … [SEP] [CLS] … [SEP]`, as long documents are in
    pretraining: an encoder with few positions reads all of it. One longer than the row keeps its beginning and its end,
    where reviews come to the point. Of a pair the longer text is cut first.

    Args:
        tokenizer: `Tokenizer`.
        texts: tf.string (B,).
        pairs: tf.string (B,) or None; a pair is one segment.
        sequence_length: the longest row, in tokens.
        segment_length: the longest segment, in tokens, at least 4: the documents the encoder was trained on.

    Returns:
        {"token_ids", "segment_ids"}: int32 (B, longest row); segments count from 1, 0 = padding.
    """
    ids = tokenizer.encode(cleaned(texts))
    if pairs is None:
        rows = _segmented(ids, sequence_length, segment_length)
    else:
        room = segment_length - 3
        ids, second = ids[:, :room], tokenizer.encode(cleaned(pairs))[:, :room]
        length = tf.minimum(ids.row_lengths(), tf.maximum(room - second.row_lengths(), room // 2))
        second_length = tf.minimum(second.row_lengths(), room - length)
        cls, sep = (tf.fill([ids.nrows(), 1], special) for special in (CLS, SEP))
        rows = tf.concat([cls, _first(ids, length), sep, _first(second, second_length), sep], axis=1)
    token_ids = rows.to_tensor(PAD)
    return {"token_ids": token_ids, "segment_ids": segment_ids(token_ids)}


def cleaned(texts):
    """`data.sources.clean_text` in the graph: what a model is served is read as what it was trained on.

    Args:
        texts: tf.string (B,).

    Returns:
        tf.string (B,); white space at the ends stays, the tokenizer takes it away.
    """
    for pattern, replacement in ((r"\r\n?", "\n"), (r"[\x00-\x08\x0b-\x1f\x7f-\x{9f}\x{feff}]", ""),
                                 (r"(?i)<br\s*/?>", "\n")):
        texts = tf.strings.regex_replace(texts, pattern, replacement)
    return texts


def segment_room(sequence_length, segment_length):
    """How many ids of a text have room in a segment and in a row, and how many of these are the text's first ones."""
    inside = min(segment_length, sequence_length) - 2
    segments, rest = divmod(sequence_length, inside + 2)
    room = segments * inside + max(0, rest - 2)
    return inside, room, int(room * HEAD_SHARE)


def _segmented(ids, sequence_length, segment_length):
    """Each row of ids as one or more segments, all of them together at most `sequence_length` long."""
    inside, room, head = segment_room(sequence_length, segment_length)
    ids = tf.concat([ids[:, :head], ids[:, head:][:, head - room :]], axis=1)
    number = tf.maximum(-(-ids.row_lengths() // inside), 1)  # segments of each row; an empty text is one
    # The ids in the order they have; each row's are cut after every `inside`, the rest of it at its end.
    lengths = tf.ones([tf.reduce_sum(number)], tf.int64) * inside
    last = tf.cumsum(number) - 1  # of each row
    lengths = tf.tensor_scatter_nd_update(lengths, last[:, None], ids.row_lengths() - (number - 1) * inside)
    pieces = tf.RaggedTensor.from_row_lengths(ids.values, lengths)
    cls, sep = (tf.fill([pieces.nrows(), 1], special) for special in (CLS, SEP))
    return tf.RaggedTensor.from_row_lengths(tf.concat([cls, pieces, sep], axis=1), number).merge_dims(1, 2)


def _first(ids, lengths):
    """The first ids of each row, a different number in each."""
    return tf.RaggedTensor.from_tensor(ids.to_tensor(), lengths)


@dataclasses.dataclass(frozen=True)
class EncodedExamples:
    """Examples as token ids, encoded once and batched in every epoch anew.

    Attributes:
        rows: N arrays of int32 ids, special tokens included.
        labels: np.int32 (N,), or (N, …) where an example has several.
    """

    rows: list
    labels: np.ndarray

    def __len__(self):
        return len(self.rows)

    def take(self, chosen):
        """The examples of a boolean mask (N,)."""
        return EncodedExamples([self.rows[number] for number in np.flatnonzero(chosen)], self.labels[chosen])

    def epoch(self, batch_size, seed, class_weights=None):
        """One pass in random order: every example once, neighbours in length share a batch.

        Args:
            seed: a sequence of ints, such as (seed, epoch); the same seed gives the same batches.
            class_weights: np.float32 (C,), or None for 1 each.

        Yields:
            dict of np arrays: "token_ids", "segment_ids" (B, longest), "labels" (B,), "sample_weight" (B,).
        """
        random = np.random.default_rng(seed)
        order = random.permutation(len(self))
        lengths = np.array([len(row) for row in self.rows])
        batches = []
        for start in range(0, len(order), batch_size * WINDOW):
            window = order[start : start + batch_size * WINDOW]
            window = window[np.argsort(lengths[window], kind="stable")]
            batches += [window[n : n + batch_size] for n in range(0, len(window), batch_size)]
        for number in random.permutation(len(batches)):
            yield self.batch(batches[number], class_weights)

    def endless(self, batch_size, seed, class_weights=None, step=0):
        """Epoch after epoch, each in an order of its own; without the first `step` batches."""
        first, step = divmod(step, math.ceil(len(self) / batch_size))
        for number in itertools.count(first):
            yield from itertools.islice(self.epoch(batch_size, [seed, number], class_weights), step, None)
            step = 0

    def stretches(self, count, seed, class_weights=None):
        """Endless: `count` examples after another as `flat` gives them, each epoch in an order of its own."""
        order = np.zeros(0, np.int64)
        for epoch in itertools.count():
            order = np.concatenate([order, np.random.default_rng([seed, epoch]).permutation(len(self))])
            while len(order) >= count:
                yield self.flat(order[:count], class_weights)
                order = order[count:]

    def flat_in_order(self, count):
        """Every example once, `count` at a time as `flat` gives them."""
        for start in range(0, len(self), count):
            yield self.flat(range(start, min(start + count, len(self))))

    def in_order_of_length(self, batch_size):
        """Every example once, for measuring; yields batches as `epoch` does."""
        order = np.argsort([len(row) for row in self.rows], kind="stable")
        for start in range(0, len(order), batch_size):
            yield self.batch(order[start : start + batch_size])

    def flat(self, numbers, class_weights=None):
        """These examples without padding: {"token_ids" (T,), one row after another, "lengths", "labels",
        "sample_weight" (N,)}."""
        rows = [self.rows[number] for number in numbers]
        return {"token_ids": np.concatenate(rows), "lengths": np.array([len(row) for row in rows], np.int32),
                **self._labels(numbers, class_weights)}

    def batch(self, numbers, class_weights=None):
        """The batch of these example numbers."""
        token_ids = padded([self.rows[number] for number in numbers])
        segments = np.where(token_ids == PAD, 0, np.cumsum(token_ids == CLS, axis=1))
        return {"token_ids": token_ids, "segment_ids": segments.astype(np.int32),
                **self._labels(numbers, class_weights)}

    def _labels(self, numbers, class_weights):
        labels = self.labels[list(numbers)]
        weight = np.ones(labels.shape, np.float32) if class_weights is None else class_weights[labels]
        return {"labels": labels, "sample_weight": weight}


def padded(rows):
    """Rows of ids as one array int32 (B, longest), `PAD` after their ends."""
    array = np.full((len(rows), max(map(len, rows))), PAD, np.int32)
    for place, row in enumerate(rows):
        array[place, : len(row)] = row
    return array


def encode_all(tokenizer, examples, sequence_length, segment_length, progress=None):
    """Encodes all examples once.

    Args:
        examples: `data.tasks.Examples`.
        sequence_length, segment_length: as for `encode_examples`.
        progress: called with the number of examples done.

    Returns:
        `EncodedExamples`.
    """
    texts = tuple(tf.constant(part, tf.string)  # not floats where there are none
                  for part in (examples.texts, examples.pairs) if part is not None)

    def encode(text, pair=None):
        return tf.RaggedTensor.from_tensor(
            encode_examples(tokenizer, text, pair, sequence_length, segment_length)["token_ids"], padding=PAD)

    return EncodedExamples(encoded_rows(texts, encode, progress), examples.labels)


def encoded_rows(texts, encode, progress=None):
    """Encodes texts in batches.

    Args:
        texts: a tensor tf.string (N,), or a tuple of them.
        encode: batches of them → `tf.RaggedTensor` int32 (B, None); traced without autograph.
        progress: called with the number of texts done.

    Returns:
        list of N arrays of ids.
    """
    rows = []
    dataset = tf.data.Dataset.from_tensor_slices(texts).batch(256)
    encode = tf.autograph.experimental.do_not_convert(encode)
    for batch in dataset.map(encode, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2):
        values, splits = batch.values.numpy(), batch.row_splits.numpy()
        rows += [values[start:end] for start, end in zip(splits[:-1], splits[1:])]
        if progress:
            progress(len(splits) - 1)
    return rows
