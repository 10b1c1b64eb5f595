"""Questions and texts (tf.string) in, rows `[CLS] question [SEP] window [SEP]` out: texts of any length, in windows.

A text longer than a row is read in several, each of which begins half a window after the one before it; the last one
ends with the text. Every token of a text knows the bytes it came from, so an answer is a piece of the text itself.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from data.batching import EncodedExamples, cleaned
from data.tokenizer import CLS, PAD, SEP
from data.words import ranges

LONGEST_QUESTION = 64  # tokens, if the row is at least four times as long; of a longer one the beginning is read
BATCH_QUESTIONS = 64  # encoded at a time


@dataclasses.dataclass(frozen=True)
class Windows:
    """The rows of B questions: W of them, L long.

    Attributes:
        token_ids: int32 (W, L), 0 = padding.
        places: int64 (W, L), which of the texts' tokens it is, for tokens of a text; -1 for all others.
        splits: int64 (B + 1,), which rows are a question's.
        starts, ends: int64 (T + 1,), the bytes [start, end) of its text that each of the texts' tokens stands for; one
            more at the end, [0, 0).
        text_splits: int64 (B + 1,), which of the texts' tokens are a question's.
    """

    token_ids: object
    places: object
    splits: object
    starts: object
    ends: object
    text_splits: object


def encode_windows(tokenizer, questions, contexts, sequence_length):
    """Encodes questions with their texts. Runs eagerly, in `tf.data` and in a SavedModel.

    Args:
        tokenizer: `Tokenizer`.
        questions, contexts: tf.string (B,).
        sequence_length: of the longest row, in tokens, at least 16.

    Returns:
        `Windows`.
    """
    question = tokenizer.encode(cleaned(questions))[:, : min(LONGEST_QUESTION, sequence_length // 4)]
    # Not cleaned, for an answer's place is that in the text as it was given; the tokenizer removes controls as well.
    context, starts, ends = tokenizer.encode_with_offsets(contexts)
    length, room = context.row_lengths(), sequence_length - 3 - question.row_lengths()  # (B,)
    step, last = room // 2, tf.maximum(length - room, 0)
    number = tf.ragged.range(1 - (-last // step))  # (B, None): the rows of each question
    example = number.value_rowids()  # (W,)
    begin = tf.minimum(number.values * tf.gather(step, example), tf.gather(last, example))
    end = tf.minimum(begin + tf.gather(room, example), tf.gather(length, example))
    first = tf.gather(context.row_splits, example)
    places = ranges(first + begin, first + end)
    places = tf.RaggedTensor.from_row_splits(places.rt_dense_values, places.rt_nested_splits)  # (W, None)
    question = tf.gather(question, example)
    cls, sep = (tf.fill([places.nrows(), 1], special) for special in (CLS, SEP))
    rows = tf.concat([cls, question, sep, tf.gather(context.values, places), sep], axis=1)
    shape = tf.maximum(rows.bounding_shape(), [0, 1])  # a column of no questions too
    nowhere = -tf.ones_like(cls, tf.int64)
    places = tf.concat([nowhere, tf.cast(tf.zeros_like(question), tf.int64) - 1, nowhere, places, nowhere], axis=1)
    return Windows(rows.to_tensor(PAD, shape=shape), places.to_tensor(-1, shape=shape), number.row_splits,
                   *(tf.concat([bytes_.values, [0]], 0) for bytes_ in (starts, ends)), context.row_splits)


def span_labels(windows, spans):
    """Where the answers stand in the rows.

    Args:
        windows: `Windows`.
        spans: int64 (B, 2), the bytes [start, end) of each answer in its text; [0, 0) = none.

    Returns:
        int32 (W, 2), first and last token of an answer that stands in the row as a whole; 0, [CLS], elsewhere.
    """
    size = tf.size(windows.starts, tf.int64) - 1
    tokens = tf.RaggedTensor.from_row_splits(tf.range(size), windows.text_splits)
    span = tf.gather(spans, tokens.value_rowids())  # (T, 2)
    starts, ends = windows.starts[:-1], windows.ends[:-1]
    inside = (starts < ends) & (starts < span[:, 1]) & (ends > span[:, 0])  # (T,)
    wanted = tf.reduce_sum(tokens.with_values(tf.cast(inside, tf.int64)), axis=1)  # (B,)
    # The place -1 reads the last element, which is nobody's.
    here = tf.gather(tf.concat([inside, [False]], 0), tf.where(windows.places < 0, size, windows.places))  # (W, L)
    rows = tf.RaggedTensor.from_row_splits(tf.range(tf.shape(here)[0]), windows.splits)
    whole = tf.math.count_nonzero(here, axis=1) == tf.gather(wanted, rows.value_rowids())  # (W,)
    here = tf.cast(here, tf.int32)
    last = tf.shape(here)[1] - 1 - tf.argmax(here[:, ::-1], axis=1, output_type=tf.int32)
    labels = tf.stack([tf.argmax(here, axis=1, output_type=tf.int32), last], axis=1)
    return tf.where((whole & (tf.reduce_max(here, axis=1) > 0))[:, tf.newaxis], labels, 0)


def encode_questions(tokenizer, questions, sequence_length, progress=None):
    """Encodes questions to learn from once.

    Args:
        tokenizer: `Tokenizer`.
        questions: N of `data.questions.Question`, each with a span or without answers.
        sequence_length: as for `encode_windows`.
        progress: called with the number of questions done.

    Returns:
        `data.batching.EncodedExamples` of the rows; labels int32 (W, 2) as `span_labels` gives them.
    """
    def encode(texts, contexts, spans):
        windows = encode_windows(tokenizer, texts, contexts, sequence_length)
        rows = tf.RaggedTensor.from_tensor(windows.token_ids, padding=PAD)
        return rows, span_labels(windows, spans), tf.size(texts)

    texts, contexts = (tf.constant([utf8(getattr(question, name)) for question in questions], tf.string)
                       for name in ("question", "context"))
    spans = np.array([_bytes(question) for question in questions], np.int64).reshape(-1, 2)
    dataset = tf.data.Dataset.from_tensor_slices((texts, contexts, spans)).batch(BATCH_QUESTIONS)
    encode = tf.autograph.experimental.do_not_convert(encode)
    rows, labels = [], []
    for row, label, count in dataset.map(encode, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2):
        values, splits = row.values.numpy(), row.row_splits.numpy()
        rows += [values[start:end] for start, end in zip(splits[:-1], splits[1:])]
        labels.append(label.numpy())
        if progress:
            progress(int(count))
    return EncodedExamples(rows, np.concatenate(labels))


def _bytes(question):
    """A question's span in bytes; [0, 0) if it has none."""
    return [len(utf8(question.context[:place])) for place in question.span or (0, 0)]


def utf8(text):
    """A string as bytes; a lone surrogate, which has no UTF-8, becomes a question mark."""
    return text.encode("utf-8", "replace")
