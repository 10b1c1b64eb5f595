"""Texts (tf.string) in, their words out: normalised and cut by saved tables, with core TensorFlow ops only.

1. Every code point is replaced through a table (NFKC, lower case, controls, white space), so that nothing
   depends on a Unicode version. It sees one at a time: "e" and a combining accent stay two characters.
2. Spaces become the marker ▁, and a text begins with one. A word is a run of letters (digits, marks and
   apostrophes among them) or of punctuation, with the ▁ before it; or a run of a script written without
   spaces: a ▁ before that is a word of its own. Runs are cut after 32 characters.

BERT's words (data/wordpiece.py) are a case of this: all that is no space is a letter, some of them stand alone, and a
long word is not cut.

All of it is vectorised over the characters of a batch. The tables are made in data/vocabulary.py.
"""

import collections
import contextlib
import contextvars

import numpy as np
import tensorflow as tf

MARKER = "▁"  # a literal one in the text is normalised to "_"
LONGEST_WORD = 32  # characters, the marker included; bounds the tokenizer's work per character
LAST_EXPANSION = 0  # in the table: -n is the n-th replacement that is not one character; 0 is none at all
SPACE, LETTER, PUNCTUATION, UNSPACED = range(4)
# [4 * class before + class] → does a word go on? Only runs do, and ▁ takes letters or punctuation behind it.
GOES_ON = np.array([[0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], bool).reshape(-1)  # (16,)
Ranges = collections.namedtuple("Ranges", ("rt_nested_splits", "rt_dense_values"))
_lite = contextvars.ContextVar("lite", default=False)


class WordSplitter(tf.Module):
    """Normalises texts and cuts them into words.

    `definition["normalization"]` lists [first, last, replacement] ranges of code points in ascending order;
    the last of them removes everything up to U+10FFFF. `letters` and `unspaced` list [first, last] ranges of
    normalised code points; the rest is punctuation. `alone`, if given, lists ranges of code points each of which is a
    word of its own behind a ▁; `longest_word`, if given, the characters up to which a word can be known: then no word
    is cut.
    """

    def __init__(self, definition: dict):
        super().__init__()
        changes = definition["normalization"]
        first_beyond, last, replacement = changes[-1]
        if (last, replacement) != (0x10FFFF, ""):
            raise ValueError("the normalisation table must end by removing everything up to U+10FFFF")
        self.table_size = first_beyond + 1
        table = np.arange(self.table_size, dtype=np.int32)
        expansions = [""]
        for first, last, replacement in changes:
            if len(replacement) == 1:
                table[first : last + 1] = ord(replacement)
            elif replacement:
                table[first : last + 1] = LAST_EXPANSION - len(expansions)
                expansions.append(replacement.replace(" ", MARKER))
            else:
                table[first : last + 1] = LAST_EXPANSION
        for first, last in definition.get("alone", []):
            table[first : last + 1] = LAST_EXPANSION - np.arange(len(expansions), len(expansions) + last + 1 - first)
            expansions += [f"{MARKER}{chr(code_point)}{MARKER}" for code_point in range(first, last + 1)]
        table[table == ord(" ")] = ord(MARKER)
        classes = np.full(self.table_size, PUNCTUATION, np.int32)
        for name, value in (("letters", LETTER), ("unspaced", UNSPACED)):
            for first, last in definition[name]:
                classes[first : last + 1] = value
        classes[ord(MARKER)] = SPACE
        self.cuts_words = "longest_word" not in definition
        self.longest_word = definition.get("longest_word", LONGEST_WORD)
        multipliers = np.random.default_rng(0).integers(-(2**63), 2**63, self.longest_word) | 1
        with tf.device("CPU"):  # strings live there; a GPU would only see copies
            self._replacements = tf.constant(table)  # (table_size,)
            self._classes = tf.constant(classes)  # (table_size,)
            self._expansions = tf.constant([ord(c) for text in expansions for c in text], tf.int32)
            self._expansion_splits = tf.constant(np.cumsum([0, *map(len, expansions)]), tf.int64)
            self._goes_on = tf.constant(GOES_ON)
            self._multipliers = tf.constant(multipliers)  # int64 (longest_word,)

    def normal_characters(self, texts):
        """tf.string (B,) → normalised code points int32 (N,) and row splits int64 (B + 1,).

        ▁ stands for a space. A text begins with one, they are single, none ends a text; a text without characters
        has none at all. Bytes that are not UTF-8 count as U+FFFD.
        """
        decoded = tf.strings.unicode_decode(tf.strings.join([" ", texts]), "UTF-8", errors="replace")
        return self.normalized(decoded.flat_values, decoded.row_splits)

    def normalized(self, code_points, splits):
        """The same of code points int32 (M,), a space before each text, with row splits int64 (B + 1,)."""
        code_points, splits = self._replaced(code_points, splits)
        kept = _without_repeated_spaces(code_points)
        return tf.gather(code_points, kept), count_below(kept, splits)

    def origins(self, texts):
        """tf.string (B,) → starts and ends int64 (N,): which bytes [start, end) of its text each of `normal_characters`
        came from; and their row splits int64 (B + 1,).

        The space that is put before a text comes from [-1, 0).
        """
        spaced = tf.strings.join([" ", texts])
        decoded, offsets = tf.strings.unicode_decode_with_offsets(spaced, "UTF-8", errors="replace")
        code_points, splits = self._replaced(decoded.flat_values, decoded.row_splits)
        kept = _without_repeated_spaces(code_points)
        starts = offsets.flat_values  # (M,): of the characters as they were
        length = tf.strings.length(spaced)  # (B,): where each text's last character ends
        ends = tf.tensor_scatter_nd_update(tf.roll(starts, -1, 0), decoded.row_splits[1:, tf.newaxis] - 1,
                                           tf.cast(length, tf.int64))
        # How many characters each one became, and so which one each came from.
        replacement = self._replacement(decoded.flat_values)
        number = -tf.minimum(replacement, 0)
        expanded = tf.gather(self._expansion_splits, number + 1) - tf.gather(self._expansion_splits, number)
        became = tf.cumsum(tf.where(replacement > LAST_EXPANSION, tf.ones_like(expanded), expanded))
        origin = count_below(became, kept + 1)
        return tf.gather(starts, origin) - 1, tf.gather(ends, origin) - 1, count_below(kept, splits)

    def _replacement(self, code_points):
        return tf.gather(self._replacements, tf.minimum(code_points, self.table_size - 1))

    def _replaced(self, code_points, splits):
        """What stands in the table for each code point int32 (M,); their row splits int64 (B + 1,) follow."""
        code_points = self._replacement(code_points)
        # Most small batches hold only characters with one replacement.
        expanding = tf.where(code_points <= LAST_EXPANSION)[:, 0]  # (K,)
        return tf.cond(tf.equal(tf.size(expanding), 0), lambda: (code_points, splits),
                       lambda: self._expand(code_points, splits, expanding))

    def _expand(self, code_points, splits, expanding):
        """Removes characters and puts in the longer replacements ("…" → "..."), at the positions expanding (K,)."""
        size = tf.size(code_points, tf.int64)[tf.newaxis]
        number = -tf.gather(code_points, expanding)
        # What stays and what comes in its place, in turn, as ranges of one list: K + 1 and K of them.
        stays = tf.concat([[0], expanding + 1], 0)
        starts = tf.stack([stays[:-1], size + tf.gather(self._expansion_splits, number)], axis=1)
        ends = tf.stack([expanding, size + tf.gather(self._expansion_splits, number + 1)], axis=1)
        starts = tf.concat([tf.reshape(starts, [-1]), stays[-1:]], 0)  # (2 K + 1,)
        ends = tf.concat([tf.reshape(ends, [-1]), size], 0)  # (2 K + 1,)
        sources = ranges(starts, ends)
        characters = tf.gather(tf.concat([code_points, self._expansions], 0), sources.rt_dense_values)
        run = count_below(expanding, splits)  # (B + 1,): a split lies in what stays after so many expansions
        return characters, tf.gather(sources.rt_nested_splits, 2 * run) + splits - tf.gather(stays, run)

    def words(self, texts):
        """tf.string (B,) → characters int32 (N,) with ▁ for a space; word splits int64 (W + 1,) over them; row
        splits int64 (B + 1,) over the words.
        """
        return self.cut(*self.normal_characters(texts))

    def cut(self, characters, splits):
        """The same of what `normal_characters` gives."""
        classes = tf.gather(self._classes, characters)
        # A text begins with a space, which never goes on; so any class will do before the first character.
        before = tf.concat([[SPACE], classes], 0)[:-1]
        starts = tf.where(~tf.gather(self._goes_on, 4 * before + classes))[:, 0]
        end = tf.size(classes, tf.int64)[tf.newaxis]
        if self.cuts_words:
            starts = ranges(starts, tf.concat([starts, end], 0)[1:], LONGEST_WORD).rt_dense_values
        return characters, tf.concat([starts, end], 0), count_below(starts, splits)

    def keys(self, characters, word_splits):
        """Characters int32 (N,), word splits int64 (W + 1,) → an int64 (W,) for each word.

        A multilinear hash: the sum of the code points, each times its position's multiplier, modulo 2^64. Two words
        share a key with a chance of 2^-47 at most (2^-64 but for multiples of high powers of two). Spelling the
        words as strings and looking those up takes three times as long.
        """
        positions = ranges(tf.constant(0, tf.int64), word_splits[1:] - word_splits[:-1]).rt_dense_values
        if not self.cuts_words:  # those too long to be known have some key too
            positions = tf.minimum(positions, self.longest_word - 1)
        products = tf.cast(characters, tf.int64) * tf.gather(self._multipliers, positions)
        sums = tf.gather(tf.cumsum(tf.concat([[tf.constant(0, tf.int64)], products], 0)), word_splits)
        return sums[1:] - sums[:-1]


def _without_repeated_spaces(code_points):
    """Which of the code points int32 (M,) stay, int64 (N,): a space does unless a space or the text's end follows."""
    is_space = tf.equal(code_points, ord(MARKER))
    before_space = tf.concat([is_space, [True]], 0)[1:]  # beyond a text's end stands the next one's space
    return tf.where(~(is_space & before_space))[:, 0]


@contextlib.contextmanager
def lite_operations():
    """What is traced here has operations that TensorFlow Lite has too, which take longer; a tf.function would keep them."""
    before = _lite.set(True)
    try:
        yield
    finally:
        _lite.reset(before)


def ranges(starts, limits, step: int = 1):
    """The op under tf.ragged.range: rt_nested_splits int64 (R + 1,), rt_dense_values int64."""
    if not _lite.get():
        return tf.raw_ops.RaggedRange(starts=starts, limits=limits, deltas=tf.constant(step, tf.int64))
    # TensorFlow Lite divides no int64.
    sizes = tf.cast((tf.cast(tf.maximum(limits - starts, 0), tf.int32) + step - 1) // step, tf.int64)  # (R,)
    ends, total = tf.cumsum(sizes), tf.reduce_sum(sizes)
    number = tf.cumsum(tf.scatter_nd(ends[:, tf.newaxis], tf.ones_like(ends), [total + 1]))[:-1]  # of each one's range
    values = tf.gather(starts, number) + (tf.range(total) - tf.gather(ends - sizes, number)) * step
    return Ranges(tf.concat([[0], ends], 0), values)


def count_below(ascending, values):
    """How many of `ascending` int64 (N,) are less than each of `values` int64 (M,): int64 (M,)."""
    if _lite.get():  # of places, which are less than the last value
        ones = tf.scatter_nd(ascending[:, tf.newaxis], tf.ones_like(ascending), [values[-1] + 1])
        return tf.gather(tf.cumsum(ones, exclusive=True), values)
    # tf.searchsorted wraps the op in seven more, and small batches cost their number of ops.
    inputs = {"sorted_inputs": ascending[tf.newaxis], "values": values[tf.newaxis]}
    return tf.raw_ops.LowerBound(**inputs, out_type=tf.int64)[0]
