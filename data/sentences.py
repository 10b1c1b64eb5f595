"""Texts (tf.string) in, their sentences and words out: cut by regular expressions, with core TensorFlow ops only.

The same operations cut in training and inside a SavedModel. A cut is a control character, put where a pattern of RE2
matches; `cleaned` leaves none in a text.
"""

import tensorflow as tf

from data.batching import cleaned

CUT, GUARD = "\x1e", "\x1f"
# Scripts written without spaces: each of their characters is a word.
UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
LETTERS = r"\p{L}\p{M}\p{N}"
CLOSING = r"""["'”’»›)\]」』）》】]*"""
OPENING = r"""["'“‘«‹(\[?]*"""  # a quotation mark that was damaged on the way is often a ?
# A full stop behind them ends no sentence; a single letter's neither (J. K. Rowling, U.S., e.g.).
ABBREVIATIONS = r"Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|Gen|Col|Maj|Capt|Lt|Sgt|Rev|Hon|Gov|Sen|Rep|Mt|Rs|vs|cf|viz|approx|Ph\.D"
# Nor behind these where a number follows: No. 5, Jan. 1.
BEFORE_NUMBERS = "Nos?|pp?|Figs?|Vol|Art|Sec|Ch|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec"

SENTENCE_CUTS = (
    (r"\n[\s\p{Z}]*\n", CUT),
    (r"[\s\p{Z}]+", " "),
    (rf"((?:^|[^{LETTERS}.])(?:{ABBREVIATIONS}|\p{{L}}(?:\.\p{{L}})*)\.)", rf"\1{GUARD}"),
    (rf"((?:^|[^{LETTERS}])(?:{BEFORE_NUMBERS})\.)( ?\p{{N}})", rf"\1{GUARD}\2"),
    # 。 and its like end a sentence wherever they stand, ! and ? where they stand behind a script without spaces.
    (rf"((?:[。！？；।]|……|[{UNSPACED}][!?;])[。！？；।!?…]*{CLOSING})", rf"\1{CUT}"),
    # . and its like where a space and no small letter follows,
    (rf"([.!?…]{CLOSING}) ({OPENING}[\p{{Lu}}\p{{Lt}}\p{{Lo}}\p{{N}}])", rf"\1{CUT}\2"),
    # or, without a space, between a small letter or a digit and a word with a capital: "word.Next", not "U.S.", "3.5".
    (rf"([\p{{Ll}}\p{{N}})\]][.!…][.!?…]*{CLOSING})({OPENING}\p{{Lu}}[\p{{Ll}}\s'’?])", rf"\1{CUT}\2"),
    (GUARD, ""),
)
WORD_CUTS = (
    (rf"([{UNSPACED}])", rf"{CUT}\1{CUT}"),
    (rf"([{LETTERS}]+[^{LETTERS}{CUT}]*)", rf"\1{CUT}"),
)


def cut_sentences(texts):
    """Cuts texts into sentences; white space becomes single spaces, none around a sentence.

    Args:
        texts: tf.string (B,).

    Returns:
        `tf.RaggedTensor` tf.string (B, None); an empty text has no sentence.
    """
    sentences = _pieces(_rewritten(cleaned(texts), SENTENCE_CUTS))
    stripped = sentences.with_values(tf.strings.strip(sentences.values))
    return tf.ragged.boolean_mask(stripped, tf.not_equal(stripped, ""))


def join_sentences(sentences, texts, num_texts):
    """Puts sentences together again, with a space between them, except behind 。 and its like.

    Args:
        sentences: tf.string (S,).
        texts: int (S,), the number of the text that each belongs to.
        num_texts: B.

    Returns:
        tf.string (B,), "" for a text without sentences.
    """
    joined = tf.strings.unsorted_segment_join(sentences, texts, num_texts, separator=" ")
    return tf.strings.regex_replace(joined, rf"([。！？；]{CLOSING}) ", r"\1")


def cut_words(sentences):
    """Cuts sentences into words, each with what stands between it and the next one: together they are the sentence.

    Args:
        sentences: tf.string (S,).

    Returns:
        `tf.RaggedTensor` tf.string (S, None). Behind a character of a script without spaces punctuation is on its own.
    """
    return _pieces(_rewritten(sentences, WORD_CUTS))


def bare_words(words):
    """Words as they are compared: lower-cased, letters and digits alone; "" for punctuation. tf.string (W,) both."""
    return tf.strings.regex_replace(tf.strings.lower(words, encoding="utf-8"), rf"[^{LETTERS}]+", "")


def _rewritten(texts, rewrites):
    for pattern, rewrite in rewrites:
        texts = tf.strings.regex_replace(texts, pattern, rewrite)
    return texts


def _pieces(texts):
    """What stands between the cuts, without what is empty."""
    pieces = tf.strings.split(texts, CUT)
    return tf.ragged.boolean_mask(pieces, tf.not_equal(pieces, ""))
