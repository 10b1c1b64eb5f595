"""A trained extractor's run folder in, extracts from texts out: what extract, predict, evaluate and export share."""

import dataclasses
import functools
import itertools
from pathlib import Path

import numpy as np
import tensorflow as tf

from data.corpus import in_batches
from data.documents import NUM_BUCKETS, count_in_targets, every_occurrence, read_documents
from data.selection import UNIT, extracts
from data.sentences import cut_sentences, join_sentences
from models.config import from_dict
from models.extractor import ExtractorConfig, extractor
from models.run_folder import load_config

BATCH_CHARACTERS = 1 << 16  # read at a time
FREQUENT = 0.2  # of the texts


@dataclasses.dataclass(frozen=True)
class Extractor:
    """A model of words with all that it needs to make extracts.

    Attributes:
        model: `models.extractor.extractor`.
        num_texts: that it has learned from.
        target_length: the words of a target, on average.
        in_parts: an extract is a part of a sentence, not sentences.
    """

    model: object
    num_texts: int
    target_length: float
    in_parts: bool

    def texts(self, sources):
        """The extracts of texts, tf.string (B,) → tf.string (B,). Runs eagerly and in a SavedModel."""
        documents = read_documents(sources)
        chances = tf.sigmoid(self.model(every_occurrence(documents), training=False))
        worth = tf.reshape(tf.cast(tf.round(chances * UNIT), tf.int64), [tf.size(documents.keys), -1])
        length = tf.fill([documents.sentences.nrows()], tf.constant(self.target_length, tf.float64))
        return extracts(documents, worth, self._frequent(documents), length, self.in_parts)

    def write(self, sources, progress=None):
        """The same for N strings.

        Args:
            progress: called with the number of texts done.

        Returns:
            list of N strings.
        """
        return _strings(self._graph, sources, progress)

    @functools.cached_property
    def _graph(self):
        return tf.function(self.texts, [tf.TensorSpec([None], tf.string)], autograph=False)

    def best(self, sources, targets):
        """What the same search finds if it is told the targets (Nallapati et al. 2017, section 3): about the best there
        is. N strings each → list of N strings."""
        best = []
        for documents, in_target, lengths in count_pairs(sources, targets):
            worth = UNIT * (in_target[:, None] > np.arange(in_target.max(initial=0) + 1))
            found = extracts(documents, tf.constant(worth), self._frequent(documents), tf.constant(lengths, tf.float64),
                             self.in_parts)
            best += [text.decode() for text in found.numpy()]
        return best

    def _frequent(self, documents):
        frequency = self.model.get_layer("document_frequency")(documents.facts["bucket"])[:, 0]
        return frequency > FREQUENT * self.num_texts


def lead(sources, num_sentences):
    """The first sentences of N strings: a list of N strings."""
    def first(batch):
        sentences = cut_sentences(batch)[:, :num_sentences]
        return join_sentences(sentences.values, sentences.value_rowids(), sentences.nrows())

    return _strings(first, sources)


def _strings(function, sources, progress=None):
    """Calls a function of tf.string (B,) → tf.string (B,) on N strings; returns a list of N strings."""
    results = []
    for batch in in_batches(sources, BATCH_CHARACTERS):
        results += [text.decode() for text in function(tf.constant(batch)).numpy()]
        if progress:
            progress(len(batch))
    return results


def count_pairs(sources, targets):
    """Yields `Documents` of N strings, a batch at a time, and what `count_in_targets` says of them."""
    targets = iter(targets)
    for batch in in_batches(sources, BATCH_CHARACTERS):
        documents = read_documents(tf.constant(batch))
        yield documents, *count_in_targets(documents, tf.constant([*itertools.islice(targets, len(batch))]))


def build_model():
    """The model of an extractor, with fresh weights."""
    return extractor(ExtractorConfig(NUM_BUCKETS))


def load_extractor(folder):
    """Loads a run of `extract`.

    Raises:
        FileNotFoundError, ValueError: as `models.run_folder.load_config`.
    """
    folder = Path(folder)
    config = load_config(folder, "extractor")
    model = extractor(from_dict(ExtractorConfig, config["model"]))
    model.load_weights(folder / "extractor.weights.h5")
    return Extractor(model, config["num_examples"], config["target_length"], config["in_parts"])
