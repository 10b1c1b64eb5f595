"""Texts → deduplicated documents, split into train and validation: a spool file on disk, little in memory.

Two passes. The first writes each text to the spool (UTF-8, one after the other) and keeps 49 bytes of it: its
size there, an exact hash, the signature of `data.duplicates` and a mark. Then duplicates are found by sorting
hashes and bands of signatures. The second pass reads the documents that stayed from the spool. Held-out texts
come first in the reading order, so that a document goes when it equals one of them, or nearly.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from data.duplicates import (BINS, MINIMUM_SHINGLES, SHINGLE, equal_twins, exact_hash, fold, near_twins,
                             signatures)

_BATCH_CHARACTERS = 1 << 16  # compared at once: signatures take 18 ns a character, with 2**18 24
_EXAMPLES = 5
MINIMUM_CHARACTERS = 2  # a shorter text counts as empty


class Documents:
    """Some of the texts of a spool, in the order in which they were read: `len` and iteration, as often as wanted."""

    def __init__(self, spool: Path, starts: np.ndarray, sizes: np.ndarray):
        self._spool, self._starts, self._sizes = spool, starts, sizes

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[str]:
        with open(self._spool, "rb") as file:
            for start, size in zip(self._starts, self._sizes):
                file.seek(start)
                yield file.read(size).decode()


class Corpus:
    """Documents on disk until `close`, or the end of a `with` block, removes them.

    Attributes:
        counts: read = empty + exact_duplicates + near_duplicates + contaminated + train + validation (the last unless
            texts were given for it); characters: in the texts read; held_out: the texts kept away.
        near_duplicates: up to five pairs (the text that stayed or is held out, the text that went for it).
    """

    def __init__(self, spool: Path, index: "_Index", splits: np.ndarray, counts: dict[str, int],
                 near_duplicates: np.ndarray):
        self._spool, self._splits, self._hashes = spool, splits, np.frombuffer(index.hashes, np.uint64)
        self._sizes = np.frombuffer(index.sizes, np.uint64)
        self._starts = np.cumsum(self._sizes) - self._sizes
        self.counts = counts
        self.near_duplicates = [tuple(self._texts(pair)) for pair in near_duplicates]

    def documents(self, split: str, most_bytes: int | None = None) -> Documents:
        """The documents of the split "train" or "validation".

        Args:
            most_bytes: a sample that ends with the document that reaches so many bytes of UTF-8, so that it has
                one at least. The documents' hashes draw it: whatever their order, each is as likely as another.
        """
        numbers = np.flatnonzero(self._splits == {"train": b"t", "validation": b"v"}[split])
        if most_bytes is not None:
            drawn = numbers[np.argsort(self._hashes[numbers])]
            numbers = np.sort(drawn[:np.searchsorted(np.cumsum(self._sizes[drawn]), most_bytes) + 1])
        return self._texts(numbers)

    def _texts(self, numbers: np.ndarray) -> Documents:
        return Documents(self._spool, self._starts[numbers], self._sizes[numbers])

    def close(self) -> None:
        """Removes the spool file."""
        self._spool.unlink(missing_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def build_corpus(texts: Iterable[str], folder: Path, *, held_out: Iterable[str] = (),
                 validation: Iterable[str] | None = None, validation_share: float = 0.01,
                 near_duplicates: float = 0.8, progress: Callable[[int], None] | None = None) -> Corpus:
    """Reads texts into a corpus.

    Args:
        texts: cleaned, as `data.sources.read_texts` gives them.
        folder: where the spool file goes; it takes as much space as the texts.
        held_out: cleaned texts that must not stand in the corpus, nor nearly.
        validation: cleaned texts that are the split validation, every one of them; what equals one of them, or
            nearly, does not stand in the split train. None = a share of `texts`.
        validation_share: the part of the documents in the split validation. The split of a document depends
            on its own text alone; but of two documents or more each split gets at least one (if the share is
            not 0).
        near_duplicates: the Jaccard index of shingles, over 0.5, from which on two texts are nearly equal
            (see `data.duplicates`); 1 = texts go only when they are equal but for case and whitespace. Texts
            of fewer than MINIMUM_SHINGLES shingles are only compared so.
        progress: called with the number of characters read since the last call.

    Raises:
        ValueError: an option is out of its range; no document stays.
    """
    if not 0 <= validation_share < 1:
        raise ValueError(f"the validation share must be in [0, 1). Received: {validation_share}")
    if not 0.5 < near_duplicates <= 1:
        raise ValueError(f"the threshold of near-duplicates must be in (0.5, 1]. Received: {near_duplicates}")
    folder.mkdir(parents=True, exist_ok=True)
    spool = folder / "documents.utf8"
    try:
        with open(spool, "wb") as file:
            index = _Index(file, progress)
            held_out_counts = index.add(held_out)
            first = len(index.hashes)
            if validation is not None:
                index.add(validation)
            protected = len(index.hashes)
            if validation is not None and protected == first:
                raise ValueError("texts for validation must be given or left to a share of the corpus. Received: none, or "
                                 "empty ones alone")
            counts = index.add(texts)
        hashes = np.frombuffer(index.hashes, np.uint64)
        equal = equal_twins(hashes)
        near = np.full(len(hashes), -1)
        if near_duplicates < 1:
            unequal = np.flatnonzero((equal < 0) & np.frombuffer(index.comparable, np.bool_))
            near = near_twins(np.frombuffer(index.signatures, np.uint8).reshape(-1, BINS), unequal,
                              near_duplicates, protected)
        twins = np.maximum(equal, near)  # a text has at most one of them
        own = np.arange(len(hashes)) >= protected
        splits = _split(hashes, own & (twins < 0), 0 if validation is not None else validation_share)
        splits[first:protected] = b"v"
        counts.update(exact_duplicates=int((own & (equal >= protected)).sum()),
                      near_duplicates=int((own & (near >= protected)).sum()),
                      contaminated=int((own & (twins >= 0) & (twins < protected)).sum()),
                      train=int((splits == b"t").sum()), validation=int((splits == b"v").sum()),
                      held_out=held_out_counts["read"])
        if not counts["train"] + counts["validation"]:
            raise ValueError(f"a corpus must have at least one document. Received: {counts['read']} texts, "
                             f"{counts['empty']} of them empty, {counts['contaminated']} of them held out")
        went = np.flatnonzero(own & (near >= 0))[:_EXAMPLES]
        return Corpus(spool, index, splits, dict(counts), np.stack([near[went], went], axis=1))
    except BaseException:
        spool.unlink(missing_ok=True)
        raise


class _Index:
    """Spools texts; keeps of each its size, a hash, a signature and whether it is long enough to compare signatures."""

    def __init__(self, file: BinaryIO, progress: Callable[[int], None] | None):
        self.file, self.progress = file, progress
        self.sizes, self.hashes = array("Q"), array("Q")
        self.signatures, self.comparable = bytearray(), bytearray()

    def add(self, texts: Iterable[str]) -> Counter[str]:
        """Returns the counts read, empty, characters."""
        counts = Counter(read=0, empty=0, characters=0)
        for batch in in_batches(texts, _BATCH_CHARACTERS):
            characters = sum(map(len, batch))
            kept = [text for text in batch if len(text) >= MINIMUM_CHARACTERS]
            counts.update(read=len(batch), empty=len(batch) - len(kept), characters=characters)
            encoded = [text.encode() for text in kept]
            self.sizes.extend(map(len, encoded))
            self.file.writelines(encoded)
            folded = [fold(text) for text in kept]
            self.hashes.extend(map(exact_hash, folded))
            self.signatures += signatures(folded).tobytes()
            self.comparable += bytes(len(text) >= MINIMUM_SHINGLES + SHINGLE - 1 for text in folded)
            if self.progress:
                self.progress(characters)
        return counts


def in_batches(texts: Iterable[str], most_characters: int) -> Iterator[list[str]]:
    """Lists of texts that end as soon as they hold so many characters, one a text counted on top: memory is bounded
    by the longest text, not by the number of texts."""
    batch, characters = [], 0
    for text in texts:
        batch.append(text)
        characters += len(text) + 1
        if characters >= most_characters:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _split(hashes: np.ndarray, stays: np.ndarray, validation_share: float) -> np.ndarray:
    """For each text b"t", b"v" or b"-" (it goes). The hash decides: a text always falls on the same side."""
    splits = np.where(stays, b"t", b"-")
    splits[stays & (hashes < np.uint64(int(validation_share * 2**64)))] = b"v"
    numbers = np.flatnonzero(stays)
    if validation_share and len(numbers) > 1:
        ordered = numbers[np.argsort(hashes[numbers])]
        splits[ordered[0]], splits[ordered[-1]] = b"v", b"t"
    return splits
