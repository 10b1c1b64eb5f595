"""A trained run of questions in, answers found in texts out: what questions, predict, evaluate and export share."""

import dataclasses
import functools
from pathlib import Path

import tensorflow as tf

from data.tokenizer import PAD, SEP, Tokenizer
from data.windows import encode_windows, utf8
from models import bert, heads
from models.config import TransformerConfig, from_dict
from models.halves import in_halves
from models.run_folder import load_config

BATCH_QUESTIONS = 32  # answered at a time
BATCH_WINDOWS = 32  # read at a time: a text of megabytes has thousands


@dataclasses.dataclass(frozen=True)
class Answerer:
    """A span model with all that it needs to find answers in texts.

    Attributes:
        model: `models.heads.span`.
        tokenizer: the `Tokenizer` it was trained with.
        sequence_length: the longest row, in tokens.
        answer_length: the longest answer, in tokens.
        always_answers: it was trained on questions that all have an answer, and gives one whenever a text has words.
    """

    model: object
    tokenizer: Tokenizer
    sequence_length: int
    answer_length: int
    always_answers: bool

    def answers(self, questions, contexts):
        """Finds an answer to each question in its text. Runs eagerly and in a SavedModel.

        Args:
            questions, contexts: tf.string (B,).

        Returns:
            (tf.string (B,): a piece of the context as it was given, "" where no answer is the more probable;
            float32 (B,): the answer's probability in the window it was found in; int32 (B,): how many characters of the
            context stand before it).
        """
        windows = encode_windows(self.tokenizer, questions, contexts, self.sequence_length)
        start, end, found, nothing = self._read(windows)
        # Of a question's windows the one with the most probable answer; that there is none they say together.
        found = tf.RaggedTensor.from_row_splits(found, windows.splits)  # (B, None)
        nothing = tf.reduce_min(tf.RaggedTensor.from_row_splits(nothing, windows.splits), axis=1)  # (B,)
        found = found.to_tensor(2 * heads.IMPOSSIBLE, shape=tf.maximum(found.bounding_shape(), [0, 1]))
        row = windows.splits[:-1] + tf.argmax(found, axis=1)  # (B,)
        found = tf.reduce_max(found, axis=1)
        is_found = found > heads.IMPOSSIBLE / 2
        if not self.always_answers:
            is_found = is_found & (found >= nothing)

        def byte(bytes_, place):
            token = tf.gather_nd(windows.places, tf.stack([row, tf.cast(tf.gather(place, row), tf.int64)], axis=1))
            nobody = tf.size(bytes_, tf.int64) - 1  # [0, 0)
            return tf.gather(bytes_, tf.where(is_found, token, nobody))

        first, last = byte(windows.starts, start), byte(windows.ends, end)
        before = tf.strings.length(tf.strings.substr(contexts, tf.zeros_like(first), first), "UTF8_CHAR")
        return tf.strings.substr(contexts, first, last - first), tf.exp(tf.where(is_found, found, nothing)), before

    def _read(self, windows):
        """Of each row what `models.heads.best_spans` gives, a few rows at a time."""
        nobody = tf.size(windows.starts, tf.int64) - 1
        place = tf.where(windows.places < 0, nobody, windows.places)
        allowed = tf.gather(windows.starts, place) < tf.gather(windows.ends, place)  # (W, L)

        def read(first):
            rows = slice(first, first + BATCH_WINDOWS)
            token_ids = windows.token_ids[rows]
            segment_ids = tf.cast(token_ids != PAD, tf.int32)
            logits = in_halves(lambda half: self.model(half, training=False),
                               {"token_ids": token_ids, "segment_ids": segment_ids})
            return heads.best_spans(logits, allowed[rows], self.answer_length)

        parts = tf.range(0, tf.maximum(tf.shape(place)[0], 1), BATCH_WINDOWS)
        signature = tuple(tf.RaggedTensorSpec([None], dtype, ragged_rank=0)
                          for dtype in (tf.int32, tf.int32, tf.float32, tf.float32))
        return [part.values for part in tf.map_fn(read, parts, fn_output_signature=signature, parallel_iterations=1)]

    def answer(self, questions, contexts, progress=None):
        """The same for N strings, texts of similar length together.

        Args:
            progress: called with the number of questions done.

        Returns:
            list of N pairs: the answer, its probability.
        """
        order = sorted(range(len(questions)), key=lambda number: len(contexts[number]))
        found = [("", 0.0)] * len(questions)
        for start in range(0, len(order), BATCH_QUESTIONS):
            numbers = order[start : start + BATCH_QUESTIONS]
            answers, scores, _ = self._graph(*(tf.constant([utf8(texts[number]) for number in numbers])
                                               for texts in (questions, contexts)))
            for number, answer, score in zip(numbers, answers.numpy(), scores.numpy()):
                found[number] = answer.decode("utf-8", "replace"), float(score)
            if progress:
                progress(len(numbers))
        return found

    @functools.cached_property
    def _graph(self):
        return tf.function(self.answers, [tf.TensorSpec([None], tf.string)] * 2, autograph=False)


def build_model(config, dropout=0.0, start=None):
    """The model of a `TransformerConfig`.

    Args:
        dropout: of the head.
        start: the weights that it begins with: a run folder's backbone.weights.h5 or span.weights.h5.
    """
    encoder = bert.backbone(config)
    model = heads.span(encoder, SEP, dropout)
    if start is not None:
        (model if start.name.startswith("span") else encoder).load_weights(start)
    return model


def load_answerer(folder):
    """Loads a run of `questions`.

    Raises:
        FileNotFoundError, ValueError: as `models.run_folder.load_config`.
    """
    folder = Path(folder)
    config = load_config(folder, "span")
    model = build_model(from_dict(TransformerConfig, config["model"]))
    model.load_weights(folder / "span.weights.h5")
    return Answerer(model, Tokenizer.load(folder / "tokenizer.json"), config["sequence_length"],
                    config["answer_length"], config["always_answers"])
