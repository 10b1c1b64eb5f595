"""Labelled rows in, examples out: texts, labels as numbers, label names, splits, class weights."""

import dataclasses
import itertools

import numpy as np

from data.sources import LABEL_COLUMNS, TEXT_COLUMNS, clean_text, find_column, read_tables

# What people call the classes of a task, folded to lower case → the one name used here.
LABEL_ALIASES = {
    "sentiment": {
        "negative": ("0", "neg", "negative", "bad", "负面", "负", "消极", "差评"),
        "positive": ("1", "pos", "positive", "good", "正面", "正", "积极", "好评"),
    },
    "spam": {
        "ham": ("0", "ham", "no", "not spam", "normal", "false", "正常"),
        "spam": ("1", "spam", "yes", "junk", "true", "垃圾"),
    },
    "topic": {},
    "classify": {},
}


@dataclasses.dataclass(frozen=True)
class Examples:
    """Labelled texts.

    Attributes:
        texts: N strings.
        pairs: N second texts, or None.
        labels: np.int32 (N,), numbers of `label_names`.
        label_names: C names.
    """

    texts: list
    pairs: list | None
    labels: np.ndarray
    label_names: tuple

    def __len__(self):
        return len(self.texts)

    def take(self, numbers):
        """The examples of these row numbers, in their order."""
        pairs = None if self.pairs is None else [self.pairs[n] for n in numbers]
        return Examples([self.texts[n] for n in numbers], pairs, self.labels[numbers], self.label_names)


def read_examples(sources, task, skipped, *, text_column=None, pair_column=None, label_column=None,
                  label_names=None):
    """Reads labelled text.

    Args:
        sources: as for `data.sources.read_tables`; columns are found by name in each one unless given.
        task: a key of `LABEL_ALIASES`; its names for the classes are used where it has any.
        skipped: `SkippedRows`; rows without text or label are counted there.
        pair_column: the second text of a pair. Not looked for: nothing is paired unless asked for.
        label_names: the classes a model knows; None = those found, sorted.

    Raises:
        ValueError: no usable row; a label that is not among `label_names`; a column that is not there.
    """
    if task not in LABEL_ALIASES:
        raise ValueError(f"a task is one of {', '.join(LABEL_ALIASES)}. Received: {task}")
    canonical = {alias: name for name, aliases in LABEL_ALIASES[task].items() for alias in aliases}
    texts, pairs, labels = [], [], []
    named = [column for column in (text_column, pair_column, label_column) if column]
    for table in itertools.chain.from_iterable(read_tables(source, skipped, header_names=named) for source in sources):
        columns = None
        for row in table:
            if columns is None:
                columns = _columns(row, text_column, pair_column, label_column)
            text, label, *pair = (row.get(column) or "" for column in columns)
            text, label = clean_text(text), label.strip()
            if not text or not label:
                skipped.add("no text" if not text else "no label", row.place)
                continue
            if canonical and label_names is None and label.casefold() not in canonical:
                raise ValueError(f"{task} has the classes {' and '.join(LABEL_ALIASES[task])}. Received: {label!r} at "
                                 f"{row.place}. Other classes: --task classify")
            label = canonical.get(label.casefold(), label)
            if label_names is not None and label not in label_names:
                raise ValueError(f"a label must be one of {', '.join(label_names)}. "
                                 f"Received: {label!r} at {row.place}")
            texts.append(text)
            pairs.extend(map(clean_text, pair))
            labels.append(label)
    if not texts:
        raise ValueError(f"labelled data must have at least one row with text and label. Received: none in "
                         f"{', '.join(sources)}")
    names = tuple(label_names or sorted(set(labels)))
    number_of = {name: number for number, name in enumerate(names)}
    return Examples(texts, pairs if pair_column else None, np.array([number_of[label] for label in labels], np.int32),
                    names)


def _columns(row, text_column, pair_column, label_column):
    """The names of the columns with text, label and, if asked for, pair."""
    columns = [find_column(row, text_column, TEXT_COLUMNS, "text"),
               find_column(row, label_column, LABEL_COLUMNS, "label")]
    return [*columns, find_column(row, pair_column, (), "pair")] if pair_column else columns


def without_duplicates(examples):
    """Each text once; a text that stands under two labels teaches nothing and goes.

    Returns:
        (Examples, how many rows were dropped).
    """
    keys = list(zip(examples.texts, examples.pairs or examples.texts))
    first, labels_of = {}, {}
    for number, key in enumerate(keys):
        first.setdefault(key, number)
        labels_of.setdefault(key, set()).add(int(examples.labels[number]))
    kept = [number for key, number in first.items() if len(labels_of[key]) == 1]
    return examples.take(np.array(kept, np.int64)), len(examples) - len(kept)


def without(examples, others):
    """The examples whose text, or pair of texts, is none of other examples'."""
    known = set(zip(others.texts, others.pairs or others.texts))
    keys = zip(examples.texts, examples.pairs or examples.texts)
    return examples.take(np.array([number for number, key in enumerate(keys) if key not in known], np.int64))


def split(examples, share, seed=0):
    """Two parts with the classes in the same proportions.

    Args:
        share: of each class that goes into the second part; at least one example of a class that has two.

    Returns:
        (first part, second part), each in the order of `examples`.
    """
    second = np.zeros(len(examples), bool)
    random = np.random.default_rng(seed)
    for label in range(len(examples.label_names)):
        members = random.permutation(np.flatnonzero(examples.labels == label))
        wanted = min(max(1, round(share * len(members))), len(members) - 1)
        second[members[: max(wanted, 0)]] = True
    return examples.take(np.flatnonzero(~second)), examples.take(np.flatnonzero(second))


def few_labels(examples, count, seed=0):
    """A draw of `count` examples, the classes as even as they allow.

    Raises:
        ValueError: there are fewer examples, or more classes.
    """
    if not len(examples.label_names) <= count <= len(examples):
        raise ValueError(f"a draw must hold an example of each class and no more than there are: "
                         f"{len(examples.label_names)} to {len(examples)}. Received: {count}")
    random = np.random.default_rng(seed)
    order = random.permutation(len(examples))
    rank = np.zeros(len(examples), np.int64)  # the how-manieth of its class each example is in the random order
    for label in range(len(examples.label_names)):
        members = order[examples.labels[order] == label]
        rank[members] = np.arange(len(members))
    return examples.take(np.sort(order[np.argsort(rank[order], kind="stable")][:count]))


def class_weights(labels, num_classes):
    """Weights under which every class counts the same: N / (C × its size).

    Returns:
        np.float32 (C,); 0 for a class without examples.
    """
    sizes = np.bincount(labels, minlength=num_classes)
    weights = len(labels) / (np.count_nonzero(sizes) * np.maximum(sizes, 1))
    return np.where(sizes > 0, weights, 0.0).astype(np.float32)
