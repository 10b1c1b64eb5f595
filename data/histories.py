"""What people chose, item by item → a catalogue with a row for each item, and batches of rows for a recommender."""

import dataclasses
import functools
import itertools
import math
from collections import Counter

import numpy as np
import tensorflow as tf

from data.batching import WINDOW, cleaned, padded
from data.tokenizer import PAD


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """The items, a row each. Row 0 is no item: nothing is known of it, and every history begins with it.

    Attributes:
        items, titles, texts: R strings each; an item without title is called by its name.
        num_known: rows in [1, num_known) were met in training, the most frequent first; later ones are known by their
            text alone.
    """

    items: list
    titles: list
    texts: list
    num_known: int

    @functools.cached_property
    def row_of(self):
        """{item: its row}."""
        return {item: row for row, item in enumerate(self.items) if row}

    @property
    def numbers(self):
        """int32 (R,): of each row the number under which training met it; 0 for all those it did not."""
        rows = np.arange(len(self.items), dtype=np.int32)
        return np.where(rows < self.num_known, rows, 0)

    def rows(self, histories):
        """Lists of items' names as arrays of int32 rows."""
        return [np.array([self.row_of[item] for item in history], np.int32) for history in histories]

    def extended(self, interactions):
        """The catalogue with the items of others at its end, if it lacks them."""
        found = dict.fromkeys(itertools.chain(interactions.titles, *interactions.histories))
        more = [item for item in found if item not in self.row_of]
        titles = [interactions.titles.get(item, (item, item)) for item in more]
        return Catalogue(self.items + more, self.titles + [title for title, _ in titles],
                         self.texts + [text for _, text in titles], self.num_known)


def build_catalogue(interactions, training):
    """The `Catalogue` of all items of `Interactions`; `training`: lists of those that training meets."""
    counts = Counter(itertools.chain.from_iterable(training))
    known = [item for item, _ in counts.most_common()]
    titles = [interactions.titles.get(item, (item, item)) for item in known]
    return Catalogue(["", *known], ["", *(title for title, _ in titles)], ["", *(text for _, text in titles)],
                     len(known) + 1).extended(interactions)


def encode_titles(tokenizer, texts, length):
    """tf.string (N,) → int32 (N, T), T ≤ length, padded with 0: pieces of the texts' beginnings."""
    token_ids = tokenizer.encode(cleaned(texts))[:, :length]
    return token_ids.to_tensor(PAD, shape=tf.maximum(token_ids.bounding_shape(), [0, 1]))


def training_batches(histories, title_ids, *, batch_size, length, unknown_share, seed, step=0):
    """Endless batches, a pure function of seed and step: every user once an epoch, users of similar length together.

    Args:
        histories: U int arrays of rows in [1, N).
        title_ids: int32 (N, T) of the rows that training meets.
        batch_size: B, users.
        length: L; of a longer history another stretch each time.
        unknown_share: of the items that hide their number in a batch, so that their title must do (Volkovs et al. 2017,
            "DropoutNet", section 4.2).
        step: of the first batch.

    Yields:
        dict of np arrays: "history", "segment_ids", "labels" int32 (B, longest), "sample_weight" float32 (B, longest);
        "item_numbers" int32 (N,); "title_ids".
    """
    lengths = np.minimum([len(history) for history in histories], length)
    per_epoch = math.ceil(len(histories) / batch_size)
    for epoch in itertools.count(step // per_epoch):
        random = np.random.default_rng([seed, epoch])
        order = random.permutation(len(histories))
        windows = [order[start : start + batch_size * WINDOW] for start in range(0, len(order), batch_size * WINDOW)]
        order = np.concatenate([window[np.argsort(lengths[window], kind="stable")] for window in windows])
        for number in random.permutation(per_epoch)[step % per_epoch :]:
            chance = np.random.default_rng([seed, epoch, number])
            chosen = [histories[user] for user in order[number * batch_size : (number + 1) * batch_size]]
            starts = [chance.integers(max(1, len(history) - length + 1)) for history in chosen]
            labels = padded([history[start : start + length] for history, start in zip(chosen, starts)])
            numbers = np.arange(len(title_ids), dtype=np.int32)
            hidden = chance.random(len(numbers)) < unknown_share
            yield {**_before(labels), "labels": labels, "sample_weight": np.float32(labels > 0),
                   "item_numbers": np.where(hidden, 0, numbers), "title_ids": title_ids}
        step = 0


def held_out_batches(histories, catalogue, title_ids, *, batch_size, length):
    """Each history's last item to be found after those before it, every user once: a list of batches as above."""
    order = sorted(range(len(histories)), key=lambda user: len(histories[user]))
    batches = []
    for start in range(0, len(order), batch_size):
        labels = padded([histories[user][-length:] for user in order[start : start + batch_size]])
        last = np.arange(labels.shape[1]) == np.count_nonzero(labels, axis=1)[:, None] - 1
        batches.append({**_before(labels), "labels": labels, "sample_weight": np.float32(last),
                        "item_numbers": catalogue.numbers, "title_ids": title_ids})
    return batches


def _before(labels):
    """What stands before each label: row 0, then the labels before it."""
    return {"history": np.pad(labels, ((0, 0), (1, 0)))[:, :-1], "segment_ids": np.int32(labels > 0)}
