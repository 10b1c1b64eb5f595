"""Texts in, the words of their sentences as numbers out, with the facts by which a word is judged."""

import dataclasses

import numpy as np
import tensorflow as tf

from data.sentences import LETTERS, bare_words, cut_sentences, cut_words

NUM_BUCKETS = 1 << 17  # that all words share; two words of a text rarely share one
MOST_COUNTED = 8  # how often a word of a summary is counted


@dataclasses.dataclass(frozen=True)
class Documents:
    """B texts: S sentences with W words, U of them distinct in their text.

    Attributes:
        sentences: `tf.RaggedTensor` tf.string (B, None).
        words: `tf.RaggedTensor` tf.string (S, None), as `data.sentences.cut_words` cuts.
        counts: bool (W,), False for punctuation on its own.
        word_number: int32 (W,), which of the distinct words each one is.
        keys: int64 (U,), text × `NUM_BUCKETS` + bucket.
        facts: dict of int32 (U,): "bucket"; "position", how many words stand before it where it stands first;
            "sentence", the number of its first sentence; "count", how often it stands in the text; "form": 3 digits,
            2 a capital inside a sentence, 1 one at its beginning alone, 0 neither; "length", of the text in words.
    """

    sentences: tf.RaggedTensor
    words: tf.RaggedTensor
    counts: tf.Tensor
    word_number: tf.Tensor
    keys: tf.Tensor
    facts: dict

    @property
    def text_of_sentence(self):
        """int64 (S,)."""
        return self.sentences.value_rowids()

    @property
    def sentence_of_word(self):
        """int64 (W,)."""
        return self.words.value_rowids()


def read_documents(texts):
    """tf.string (B,) → `Documents`. Runs eagerly and in a SavedModel."""
    sentences = cut_sentences(texts)
    words = cut_words(sentences.values)
    bare, sentence = bare_words(words.values), words.value_rowids()  # (W,)
    text = tf.gather(sentences.value_rowids(), sentence)  # (W,)
    counts = tf.not_equal(bare, "")
    keys, word_number = tf.unique(text * NUM_BUCKETS + tf.strings.to_hash_bucket_fast(bare, NUM_BUCKETS))
    # Words before each place, and before the end: (W + 1,); where each text begins, and the last one ends: (B + 1,).
    before = tf.concat([[0], tf.cumsum(tf.cast(counts, tf.int32))], axis=0)
    starts = tf.gather(before, tf.gather(words.row_splits, sentences.row_splits))
    is_first = tf.equal(tf.range(tf.size(sentence, tf.int64)), tf.gather(words.row_splits, sentence))
    has_capital = tf.strings.regex_full_match(words.values, rf"[^{LETTERS}]*[\p{{Lu}}\p{{Lt}}].*")
    form = tf.where(tf.strings.regex_full_match(bare, r"\p{N}+"), 3, tf.where(has_capital, tf.where(is_first, 1, 2), 0))

    def of_distinct(reduce, values):
        return reduce(tf.cast(values, tf.int32), word_number, tf.size(keys))

    facts = {"bucket": tf.cast(keys % NUM_BUCKETS, tf.int32),
             "position": of_distinct(tf.math.unsorted_segment_min, before[:-1] - tf.gather(starts, text)),
             "sentence": of_distinct(tf.math.unsorted_segment_min, sentence - tf.gather(sentences.row_splits, text)),
             "count": of_distinct(tf.math.unsorted_segment_sum, tf.ones_like(word_number)),
             "form": of_distinct(tf.math.unsorted_segment_max, form),
             "length": tf.gather(starts[1:] - starts[:-1], keys // NUM_BUCKETS)}
    return Documents(sentences, words, counts, word_number, keys, facts)


def count_in_targets(documents, targets):
    """How often each distinct word of a text stands in the text that is to be written from it.

    Args:
        documents: `Documents` of B texts.
        targets: tf.string (B,).

    Returns:
        np.int64 (U,); np.int64 (B,), the number of words of each target.
    """
    words = cut_words(targets)
    bare = bare_words(words.values)
    keys = words.value_rowids() * NUM_BUCKETS + tf.strings.to_hash_bucket_fast(bare, NUM_BUCKETS)
    keys = keys.numpy()[bare.numpy() != b""]
    known, number = np.unique(keys, return_counts=True)
    known, number = np.append(known, np.iinfo(np.int64).max), np.append(number, 0)  # what comes after all of them
    place = np.searchsorted(known, documents.keys.numpy())
    counted = np.where(known[place] == documents.keys.numpy(), number[place], 0)
    return counted, np.bincount(keys // NUM_BUCKETS, minlength=words.nrows())


def examples(documents, in_target):
    """What a model learns from: for each distinct word and each time it could be counted, whether it is.

    Args:
        in_target: int (U,), how often the target has each distinct word.

    Returns:
        dict of np.int32 (N,): the facts and "occurrence", 1 … `MOST_COUNTED` and at most the word's count in the text;
        np.bool (N,): the target has the word so often.
    """
    facts = {name: values.numpy() for name, values in documents.facts.items()}
    real = np.unique(documents.word_number.numpy()[documents.counts.numpy()])
    times = np.minimum(facts["count"][real], MOST_COUNTED)
    chosen = np.repeat(real, times)
    occurrence = np.arange(len(chosen)) - np.repeat(np.cumsum(times) - times, times) + 1
    return ({**{name: values[chosen] for name, values in facts.items()}, "occurrence": occurrence.astype(np.int32)},
            in_target[chosen] >= occurrence)


def every_occurrence(documents):
    """The facts of each distinct word for each time it could be counted: dict of int32 (U × `MOST_COUNTED`,)."""
    facts = {name: tf.repeat(values, MOST_COUNTED) for name, values in documents.facts.items()}
    return {**facts, "occurrence": tf.tile(tf.range(1, MOST_COUNTED + 1), tf.shape(documents.keys))}
