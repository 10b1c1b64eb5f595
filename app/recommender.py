"""A trained recommender's run folder in, what is chosen next out: for recommend, predict, evaluate and export."""

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from data.batching import cleaned, padded
from data.histories import Catalogue, encode_titles
from data.tokenizer import Tokenizer
from models.config import TransformerConfig, from_dict
from models.halves import in_halves
from models.recommender import recommender
from models.run_folder import load_config

MOST_TITLES = 10  # that are recommended
BATCH_USERS = 64  # scored at a time
WEIGHTS, CATALOGUE = "recommender.weights.h5", "catalogue.json"


@dataclasses.dataclass(frozen=True)
class Recommender:
    """A recommender with all that it needs to go from titles to titles.

    Attributes:
        model: `models.recommender.recommender`.
        tokenizer: of the titles.
        catalogue: `data.histories.Catalogue`, R rows; it may have more of them than in training.
        title_length: the longest title, in pieces.
        sequence_length: the longest history that is read, row 0 counted in; of a longer one the end.
    """

    model: object
    tokenizer: Tokenizer
    catalogue: Catalogue
    title_length: int
    sequence_length: int

    @functools.cached_property
    def vectors(self):
        """tf.Variable float32 (R, D), of the items: in an export no constant, of which it may have 2 GB at most."""
        with tf.init_scope():  # once, even if a graph asks first
            vectors = self._vectors_of(tf.constant(self.catalogue.numbers), tf.constant(self.catalogue.texts))
            return tf.Variable(vectors, trainable=False)

    def _vectors_of(self, numbers, texts):
        title_ids = encode_titles(self.tokenizer, texts, self.title_length)
        return self.model.get_layer("items")({"item_numbers": numbers, "title_ids": title_ids}, training=False)

    def scores(self, histories):
        """What is chosen next.

        Args:
            histories: U int arrays of rows.

        Returns:
            np.float32 (U, R): logits.
        """
        found = []
        for start in range(0, len(histories), BATCH_USERS):
            rows = [np.concatenate([[0], history[1 - self.sequence_length :]])
                    for history in histories[start : start + BATCH_USERS]]
            lengths = np.array([len(row) for row in rows], np.int32)
            found.append(self._rows_scored(padded(rows), lengths).numpy())
        return np.concatenate(found)

    @functools.cached_property
    def _rows_scored(self):
        return tf.function(lambda rows, lengths: self._logits(tf.gather(self.vectors, rows), lengths),
                           [tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)], autograph=False)

    def _logits(self, chosen, lengths):
        """Vectors float32 (B, L, D) of histories of so many items, int32 (B,) → float32 (B, R)."""
        segment_ids = tf.sequence_mask(lengths, tf.shape(chosen)[1], tf.int32)
        states = in_halves(lambda half: self.model.get_layer("histories")(half, training=False),
                           {"vectors": chosen, "segment_ids": segment_ids})
        return tf.matmul(tf.gather(states, lengths - 1, batch_dims=1), self.vectors, transpose_b=True)

    @functools.cached_property
    def table(self):
        """tf.lookup.StaticHashTable: a title as the tokenizer normalises it → its row, int64; -1 for none.

        Of items with one title the first stands for all of them: the one that was chosen most.
        """
        with tf.init_scope():
            rows = {}
            for row, title in enumerate(self._normalised(tf.constant(self.catalogue.titles)).numpy()):
                rows.setdefault(title, row)
            keys, values = list(rows), list(rows.values())
            initializer = tf.lookup.KeyValueTensorInitializer(tf.constant(keys), tf.constant(values, tf.int64))
            return tf.lookup.StaticHashTable(initializer, -1)

    def _normalised(self, titles):
        return self.tokenizer.normalize(cleaned(titles))

    def recommend(self, history):
        """The best titles after those of a history, none of which comes again. Runs eagerly and in a SavedModel.

        A title that the catalogue lacks counts by its text. An empty history gives what is chosen first.

        Args:
            history: tf.string (B, n), titles in order of time; "" is none.

        Returns:
            {"titles": tf.string (B, k), best first, "scores": float32 (B, k), the probability that each comes next};
            k = 10 or, if there are fewer titles, all of them; where all have been chosen "" with a score of 0.
        """
        history = tf.strings.strip(cleaned(history))
        history = tf.ragged.boolean_mask(history, tf.not_equal(history, ""))  # (B, None)
        texts = history.values  # (T,)
        rows = self.table.lookup(self._normalised(texts))  # (T,)
        by_text = self._vectors_of(tf.zeros_like(rows, tf.int32), texts)  # (T, D)
        known = rows > 0
        vectors = tf.where(known[:, None], tf.gather(self.vectors, tf.maximum(rows, 0)), by_text)
        read = history.with_values(vectors)[:, 1 - self.sequence_length :]  # (B, None, D)
        beginning = tf.tile(self.vectors[None, :1], [history.nrows(), 1, 1])  # (B, 1, D)
        read = tf.concat([tf.RaggedTensor.from_tensor(beginning, ragged_rank=1), read], axis=1)
        logits = self._logits(read.to_tensor(), tf.cast(read.row_lengths(), tf.int32))
        places = tf.boolean_mask(tf.stack([history.value_rowids(), rows], axis=1), known)  # (K, 2)
        chosen = tf.scatter_nd(places, tf.ones_like(places[:, 0]), tf.shape(logits, tf.int64)) > 0
        free = tf.logical_and(self._stands_for_title, tf.logical_not(chosen))  # (B, R)
        probabilities = tf.where(free, tf.nn.softmax(tf.where(free, logits, -1e9)), 0.0)
        scores, best = tf.math.top_k(probabilities, min(MOST_TITLES, int(self._stands_for_title.sum())))
        titles = tf.gather(tf.constant(self.catalogue.titles), best)
        return {"titles": tf.where(tf.gather(free, best, batch_dims=1), titles, ""), "scores": scores}

    @functools.cached_property
    def _stands_for_title(self):
        """np.bool (R,): True for the rows in `table`, row 0 left out."""
        with tf.init_scope():
            first = self.table.lookup(self._normalised(tf.constant(self.catalogue.titles))).numpy()
        rows = np.arange(len(first))
        return (rows > 0) & (first == rows)

    def best(self, histories):
        """The same for U lists of titles: U lists of (title, score), those that are none left out."""
        found = []
        for start in range(0, len(histories), BATCH_USERS):
            part = histories[start : start + BATCH_USERS]
            longest = max(map(len, part))
            texts = [[*history, *[""] * (longest - len(history))] for history in part]
            answer = self.graph(tf.reshape(tf.constant(texts, tf.string), [len(part), longest]))
            for titles, scores in zip(answer["titles"].numpy(), answer["scores"].numpy()):
                found.append([(title.decode(), float(score)) for title, score in zip(titles, scores) if title])
        return found

    @functools.cached_property
    def graph(self):
        """`recommend`, traced once."""
        return tf.function(self.recommend, [tf.TensorSpec([None, None], tf.string, name="history")], autograph=False)


def load_recommender(folder):
    """Loads a run of `recommend`.

    Returns:
        (`Recommender`, the options it was trained with, "columns" and the fingerprints of the "data" among them).

    Raises:
        FileNotFoundError, ValueError: as `models.run_folder.load_config`.
    """
    folder = Path(folder)
    config = load_config(folder, "recommender")
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    catalogue = from_dict(Catalogue, json.loads((folder / CATALOGUE).read_text(encoding="utf-8")))
    model = recommender(from_dict(TransformerConfig, config["model"]), tokenizer.vocabulary_size)
    model.load_weights(folder / WEIGHTS)
    return Recommender(model, tokenizer, catalogue, config["title_length"],
                       config["model"]["sequence_length"]), config["options"]
