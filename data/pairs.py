"""Texts and the texts to be written from them → batches for an encoder–decoder: pairs of similar length together."""

import dataclasses
import itertools

import numpy as np
import tensorflow as tf

from data.batching import WINDOW, cleaned, encoded_rows, padded
from data.sources import TEXT_COLUMNS, clean_text, find_column, read_tables
from data.tokenizer import CLS, PAD, SEP

TARGET_COLUMNS = ("target", "translation", "summary", "headline", "answer", "译文", "摘要")


def read_pairs(sources, skipped, *, text_column=None, target_column=None):
    """Reads pairs of texts.

    Args:
        sources: as for `data.sources.read_tables`; columns are found by name in each one unless given.
        skipped: `SkippedRows`; rows without text or without target are counted there.

    Returns:
        (N texts, N targets), cleaned strings.

    Raises:
        ValueError: no usable row; a column that is not there, or one that would be both.
    """
    texts, targets = [], []
    named = [column for column in (text_column, target_column) if column]
    for table in itertools.chain.from_iterable(
            read_tables(source, skipped, header_names=[*named, *TARGET_COLUMNS]) for source in sources):
        columns = None
        for row in table:
            if columns is None:
                columns = (find_column(row, text_column, TEXT_COLUMNS, "text"),
                           find_column(row, target_column, TARGET_COLUMNS, "target"))
                if columns[0] == columns[1]:
                    raise ValueError(f"{row.place}: text and target must be two columns. Received: {columns[0]} for "
                                     f"both, of {', '.join(row)}; name them with --text-column and --target-column")
            text, target = (clean_text(row.get(column) or "") for column in columns)
            if text and target:
                texts.append(text)
                targets.append(target)
            else:
                skipped.add("no target" if text else "no text", row.place)
    if not texts:
        raise ValueError(f"pairs of texts need at least one row with both. Received: none in {', '.join(sources)}")
    return texts, targets


def encode_texts(tokenizer, texts, length):
    """Rows `[CLS] text [SEP]`. Runs eagerly, in `tf.data` and in a SavedModel.

    Args:
        tokenizer: `Tokenizer`.
        texts: tf.string (B,).
        length: of the longest row; of a longer text the beginning is read.

    Returns:
        `tf.RaggedTensor` int32 (B, None).
    """
    token_ids = tokenizer.encode(cleaned(texts))[:, : length - 2]
    cls, sep = (tf.fill([token_ids.nrows(), 1], special) for special in (CLS, SEP))
    return tf.concat([cls, token_ids, sep], axis=1)


@dataclasses.dataclass(frozen=True)
class EncodedPairs:
    """Pairs as token ids, encoded once and batched in every epoch anew.

    Attributes:
        sources, targets: N arrays of int32 ids, `[CLS] … [SEP]`.
        target_length: of the longest target. One that is so long may have been cut: its [SEP] is no label.
    """

    sources: list
    targets: list
    target_length: int

    def __len__(self):
        return len(self.sources)

    def endless(self, batch_tokens, seed, step=0):
        """Epoch after epoch in an order of its own, a pure function of the seed: batches as `batch` gives them.

        Args:
            batch_tokens: how many tokens of the sources and how many of the targets a batch has room for.
            step: how many batches are left out at the beginning.
        """
        for epoch in itertools.count():
            random = np.random.default_rng([seed, epoch])
            batches = self._batches(random.permutation(len(self)), batch_tokens)
            for number in random.permutation(len(batches))[step:]:
                yield self.batch(batches[number])
            step = max(0, step - len(batches))

    def in_order_of_length(self, batch_tokens):
        """Every pair once, for measuring."""
        return map(self.batch, self._batches(np.arange(len(self)), batch_tokens, window=len(self)))

    def _batches(self, order, batch_tokens, window=None):
        """Lists of numbers, which hold at most so many tokens of targets or sources, padding counted in."""
        lengths = np.array([(len(target), len(source)) for source, target in zip(self.sources, self.targets)])
        window = window or max(1, WINDOW * batch_tokens // int(lengths.max()))
        batches = []
        for start in range(0, len(order), window):
            part = order[start : start + window]
            part = part[np.lexsort(lengths[part].T[::-1])]
            batch, longest = [], 0
            for number in part:
                longest = max(longest, *lengths[number])
                if batch and longest * (len(batch) + 1) > batch_tokens:
                    batches.append(batch)
                    batch, longest = [], max(lengths[number])
                batch.append(number)
            batches.append(batch)
        return batches

    def batch(self, numbers):
        """The batch of these pairs.

        Returns:
            dict of np arrays: "token_ids", "segment_ids" int32 (B, S); "target_ids", "target_segment_ids", "labels" int32
            (B, T): what stands before each label; "sample_weight" float32 (B, T), 0 where there is none.
        """
        token_ids = padded([self.sources[number] for number in numbers])
        targets = padded([self.targets[number] for number in numbers])
        target_ids, labels = targets[:, :-1], targets[:, 1:]
        counts = labels != PAD
        target_ids = np.where(counts, target_ids, PAD)
        segments = np.int32(counts)
        if targets.shape[1] == self.target_length:
            counts = counts & ((np.arange(labels.shape[1]) < self.target_length - 2) | (labels != SEP))
        return {"token_ids": token_ids, "segment_ids": np.int32(token_ids != PAD), "target_ids": target_ids,
                "target_segment_ids": segments, "labels": labels, "sample_weight": np.float32(counts)}


def encode_pairs(tokenizer, texts, targets, source_length, target_length, progress=None):
    """Encodes all pairs once; returns `EncodedPairs`.

    Args:
        source_length, target_length: of the longest rows; what is longer is cut.
        progress: called with the number of pairs done.
    """
    def encoded(part, length):
        return encoded_rows(tf.constant(part, tf.string), lambda batch: encode_texts(tokenizer, batch, length),
                            progress and (lambda done: progress(done / 2)))

    return EncodedPairs(encoded(texts, source_length), encoded(targets, target_length), target_length)
