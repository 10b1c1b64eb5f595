"""Documents' token ids in, rows of one length on disk out: memory-mapped, several documents to a row.

A row is a sequence of segments, each `[CLS] ids… [SEP]`; what is left at its end is padding (id 0). A document longer
than a row becomes several segments. The segment boundaries need no second file: a segment starts at each [CLS].
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

from data.corpus import in_batches
from data.tokenizer import CLS, PAD, SEP

OPEN_ROWS = 64
BATCH_CHARACTERS = 1 << 17  # encoded at once


class RowWriter:
    """Packs documents into rows and appends the full ones to a file.

    Best fit over at most `OPEN_ROWS` unfinished rows: memory stays constant and of the places 2 % hold no text on
    film reviews in rows of 128, 16 % on news titles in rows of 64 ([CLS] and [SEP] counted in).
    """

    def __init__(self, path, sequence_length, vocabulary_size):
        """
        Args:
            path: the file to write: rows × sequence_length little-endian integers, nothing else.
            sequence_length: L.
            vocabulary_size: 65,536 or fewer ids are stored in two bytes each, more in four.
        """
        self.sequence_length = sequence_length
        self.dtype = row_dtype(vocabulary_size)
        # Segments and rows are kept as the bytes that will be written.
        self._cls, self._sep = (np.array(token, self.dtype).tobytes() for token in (CLS, SEP))
        self.file = open(path, "wb")
        self.num_rows = 0
        # Unfinished rows by the places still free in them, and the bits of those numbers of which there are any.
        self._unfinished = [[] for _ in range(sequence_length + 1)]
        self._free_places = 0
        self.num_unfinished = 0

    def add(self, ids):
        """Packs one document. ids: sequence of int, without special tokens; may be empty."""
        ids = np.asarray(ids, self.dtype).tobytes()
        room = (self.sequence_length - 2) * self.dtype.itemsize
        for start in range(0, len(ids), room):
            self._place(self._cls + ids[start : start + room] + self._sep)

    def _place(self, segment):
        row = self._take_fullest(len(segment) // self.dtype.itemsize)
        if row is None:
            if self.num_unfinished == OPEN_ROWS:
                self._write(self._take_fullest(0))
            row = segment
        else:
            row += segment
        free = self.sequence_length - len(row) // self.dtype.itemsize
        if free < 3:  # nothing but an empty document would fit
            self._write(row)
        else:
            self._unfinished[free].append(row)
            self._free_places |= 1 << free
            self.num_unfinished += 1

    def _take_fullest(self, needed):
        """The fullest unfinished row with so many free places, no longer among them; None if there is none."""
        fitting = self._free_places >> needed
        if not fitting:
            return None
        free = needed + (fitting & -fitting).bit_length() - 1  # the lowest bit
        row = self._unfinished[free].pop()
        self.num_unfinished -= 1
        if not self._unfinished[free]:
            self._free_places ^= 1 << free
        return row

    def _write(self, row):
        self.file.write(row.ljust(self.sequence_length * self.dtype.itemsize, b"\0"))  # [PAD] is 0
        self.num_rows += 1

    def close(self):
        """Writes the unfinished rows too."""
        while self.num_unfinished:
            self._write(self._take_fullest(0))
        self.file.close()


def pack_documents(documents, tokenizer, path, sequence_length, progress=None):
    """Encodes documents and packs them into a file of rows.

    Args:
        documents: iterable of strings.
        tokenizer: `Tokenizer`.
        path, sequence_length: as for `RowWriter`.
        progress: called with the number of documents done.

    Returns:
        (rows written, np.int64 (V,): how often each id was written, special tokens not counted).

    Raises:
        ValueError: the documents have no token.
    """
    writer = RowWriter(path, sequence_length, tokenizer.vocabulary_size)
    counts = np.zeros(tokenizer.vocabulary_size, np.int64)
    dataset = tf.data.Dataset.from_generator(lambda: in_batches(documents, BATCH_CHARACTERS),
                                             output_signature=tf.TensorSpec([None], tf.string))
    for batch in dataset.map(tokenizer.encode, num_parallel_calls=tf.data.AUTOTUNE).prefetch(4):
        values, splits = batch.values.numpy(), batch.row_splits.numpy()
        counts += np.bincount(values, minlength=len(counts))
        for start, end in zip(splits[:-1], splits[1:]):
            writer.add(values[start:end])
        if progress:
            progress(len(splits) - 1)
    writer.close()
    if not writer.num_rows:
        raise ValueError("texts must hold something that can be seen. Received: not one token for "
                         f"{Path(path).name}; give more texts")
    return writer.num_rows, counts


def row_dtype(vocabulary_size):
    """The smallest type of integer that holds every id."""
    return np.dtype("<u2" if vocabulary_size <= 65536 else "<i4")


def open_rows(path, sequence_length, vocabulary_size, num_rows):
    """Rows on disk as an array that is read as it is used.

    Returns:
        np.memmap (num_rows, sequence_length).

    Raises:
        ValueError: the file has not the size that its manifest says.
    """
    path = Path(path)
    dtype = row_dtype(vocabulary_size)
    wanted = num_rows * sequence_length * dtype.itemsize
    if path.stat().st_size != wanted:
        raise ValueError(f"{path} must hold {num_rows} rows of {sequence_length} ids ({wanted} bytes). "
                         f"Received: {path.stat().st_size} bytes. Run `prepare` again.")
    return np.memmap(path, dtype, "r", shape=(num_rows, sequence_length))


def segment_ids(rows):
    """Numbers the documents of packed rows.

    Args:
        rows: int32 tensor (B, L).

    Returns:
        int32 tensor (B, L): 1… per document, 0 = padding.
    """
    begins_inside = tf.cast(rows[:, :1] != CLS, tf.int32)  # a document: no row of `RowWriter` does, joined text may
    return tf.where(rows == PAD, 0, tf.cumsum(tf.cast(rows == CLS, tf.int32), axis=1) + begins_inside)
