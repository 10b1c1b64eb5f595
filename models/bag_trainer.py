"""The baseline and examples in, the trained baseline out: many small steps in one graph, rows at rates of their own."""

import keras
import numpy as np
import tensorflow as tf

from models.baseline import table_rows
from models.trainer import Trainer

# Above about 1,024 rows TensorFlow adds them up on several threads, in any order: two trainings of one seed differed,
# and a row took 197 ns instead of 109.
MOST_TOKENS = 1000
# Every text moves the dense layer too, but together they move it no further than so many: it diverged at 128.
DENSE_TEXTS = 32.0
SHARED_RATE = 0.1  # of a row's rate, on average, does not depend on what it says about the class


class BagTrainer(Trainer):
    """Trains the baseline by stochastic gradient descent.

    A batch of this trainer is a stretch of examples without padding: {"token_ids": int32 (T, n), the `table_rows` of
    all their tokens, one text after another; "lengths": int32 (N,); "labels": int32 (N,); "sample_weight": float32
    (N,)}. A step goes through it in many small ones, without Python in between, which would take longer than they do.

    Rows move by plain descent: a frequent one further than a rare one, as in fastText (Joulin et al. 2017); Adam, which
    lets both move alike, overfits the rare ones.
    """

    def __init__(self, model, examples, learning_rate, batch_size):
        """
        Args:
            model: `models.baseline.baseline(config)`.
            examples: all training examples as one batch: how far each row moves depends on them.
            learning_rate: how far a text moves its rows, on average, as fastText's.
            batch_size: most texts in a small step; long ones are fewer.
        """
        self.batch_size = batch_size
        self._tables = [layer.embeddings.value for layer in model.layers if isinstance(layer, keras.layers.Embedding)]
        self._classes = model.get_layer("classes")
        labels, weights = (np.repeat(examples[name], examples["lengths"]) for name in ("labels", "sample_weight"))
        sizes = [table.shape[0] for table in self._tables]
        self._row_rates = [tf.constant(rates) for rates in row_rates(examples["token_ids"].T, labels, weights, sizes)]
        super().__init__(model, keras.optimizers.SGD(name="bag_optimizer"), learning_rate, warmup=0.0)

    def _batch_signature(self):
        shapes = {"token_ids": [None, len(self._tables)], "lengths": [None], "labels": [None], "sample_weight": [None]}
        return {name: tf.TensorSpec(shape, tf.float32 if name == "sample_weight" else tf.int32)
                for name, shape in shapes.items()}

    def _sums(self, rows, texts):
        """rows: of each table int32 (T,) → the sums of each text's rows, float32 (N, D)."""
        return tf.add_n([tf.math.segment_sum(table.sparse_read(numbers), texts)
                         for table, numbers in zip(self._tables, rows)])

    def _logits(self, sums, lengths):
        return self._classes(sums / tf.cast(lengths, tf.float32)[:, None])

    def _train_step_eagerly(self, batch, learning_rate, _newest):  # of averages, which a bag does not keep
        rows = tf.unstack(batch["token_ids"], axis=1)
        rates = [learning_rate * tf.gather(rates, numbers)[:, None] for rates, numbers in zip(self._row_rates, rows)]
        texts = _owners(batch["lengths"])
        splits = tf.concat([[0], tf.cumsum(batch["lengths"])], 0)
        size = tf.size(batch["labels"])
        dense = self._classes.trainable_variables
        self.optimizer.learning_rate.assign(learning_rate)
        # Where a small step that begins with each text would end.
        ends = tf.searchsorted(splits, splits[:-1] + MOST_TOKENS, side="right") - 1
        firsts = tf.range(size)
        ends = tf.clip_by_value(ends, firsts + 1, tf.minimum(firsts + self.batch_size, size))

        def small_step(start, total, _):
            end = ends[start]
            here = slice(splits[start], splits[end])
            weight, owners, numbers = batch["sample_weight"][start:end], texts[here] - start, [n[here] for n in rows]
            sums = self._sums(numbers, owners)
            with tf.GradientTape() as tape:
                tape.watch(sums)
                logits = self._logits(sums, batch["lengths"][start:end])
                # Not `cross_entropy`: one operation is quicker than its dozen where classes are few.
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(batch["labels"][start:end], logits)
                loss = tf.math.divide_no_nan(tf.reduce_sum(losses * weight), tf.reduce_sum(weight))
            gradient, *gradients = tape.gradient(loss, [sums, *(variable.value for variable in dense)])
            # Of the sum of the texts' losses, not of their mean.
            gradient *= tf.reduce_sum(weight)
            self.optimizer.apply([part * tf.minimum(tf.reduce_sum(weight), DENSE_TEXTS) for part in gradients], dense)
            # The tables' updates run side by side: each is a chain of its own.
            for table, used, rate in zip(self._tables, numbers, rates):
                table.scatter_sub(tf.IndexedSlices(rate[here] * tf.gather(gradient, owners), used))
            return end, total + loss * tf.reduce_sum(weight), tf.linalg.global_norm(gradients)

        _, total, norm = tf.while_loop(lambda start, *_: start < size, small_step, (0, 0.0, 0.0), parallel_iterations=1)
        return total / tf.reduce_sum(batch["sample_weight"]), norm

    def _halves(self, batch):
        return [batch]  # a stretch of tokens, whose small steps follow each other

    def _evaluation_logits(self, batch):
        return self._logits(self._sums(tf.unstack(batch["token_ids"], axis=1), _owners(batch["lengths"])),
                            batch["lengths"])


def _owners(lengths):
    """int32 (N,) → int32 (T,): whose each of the texts' tokens is."""
    return tf.repeat(tf.range(tf.size(lengths)), lengths)


def bag_rows(texts, config):
    """Looks the tables' rows up once for a whole training.

    Args:
        texts: a list of int32 (L,), each text's token ids.
        config: `BaselineConfig`.

    Returns:
        A list of int32 (L, n): `table_rows` of each text.
    """
    lengths = np.array([len(text) for text in texts])
    # Zeros between two texts, as many as an n-gram reaches back, so that none spans both.
    gap = config.longest_ngram - 1
    places = np.arange(lengths.sum()) + gap * np.repeat(np.arange(len(texts)), lengths)
    token_ids = np.zeros((1, lengths.sum() + gap * len(texts)), np.int32)
    token_ids[0, places] = np.concatenate(texts)
    rows = np.stack([numbers[0] for numbers in table_rows(tf.constant(token_ids), config)], axis=1)
    return np.split(rows[places], np.cumsum(lengths)[:-1])


def row_rates(rows, labels, weights, table_sizes):
    """How far each row may move: by what its token or n-gram says about the class.

    NB-SVM (Wang & Manning 2012, section 2.3) scales features by their naive-Bayes log-count ratios before it learns
    their weights: what stands everywhere hardly counts. Gradient descent on features scaled by s is gradient descent
    with rates of s². For any number of classes s² is here the relative entropy (Kullback & Leibler 1951) of the classes
    in which an n-gram stands to the classes of all, with one occurrence more of these. Like theirs the rates are an
    interpolation with equal ones.

    Args:
        rows: for each table int (T,), every occurrence of one of its rows in the training texts.
        labels, weights: int (T,) and float (T,): the class of the text it stands in and the text's weight.
        table_sizes: how many rows each table has.

    Returns:
        list of np.float32 (rows,), 1 on average over all occurrences.
    """
    rates, total = [], 0.0
    prior = np.bincount(labels, weights) / weights.sum()  # (C,)
    present = prior > 0
    for numbers, size in zip(rows, table_sizes):
        counts = np.bincount(numbers * np.int64(len(prior)) + labels, weights, size * len(prior))
        counts = counts.reshape(size, len(prior))[:, present]
        occurrences = counts.sum(axis=1)
        shares = (counts + prior[present]) / (occurrences[:, None] + 1)
        rates.append((shares * np.log(shares / prior[present])).sum(axis=1))
        total += rates[-1] @ occurrences
    # But for rounding 0 when no row says anything.
    scale = (1 - SHARED_RATE) * len(rows) * weights.sum() / total if total > 1e-9 * weights.sum() else 0.0
    return [(SHARED_RATE + scale * table).astype(np.float32) for table in rates]
