"""Documents and what each of their words is worth in, extracts out: sentences, or the best part of one.

What a word is worth is the chance that the target, the text to be written, has it. An extract of n words, c of them
among the m words of its target, has a ROUGE-1 F1 of 2 c / (n + m) (Lin 2004): with the sum of the chances for c and the
mean length of targets for m, it can be foretold. Sentences join one after the other, each time the one that raises it
most, while it rises: the greedy search of Nallapati et al. 2017 ("SummaRuNNer", section 3), who know the target. One
all of whose words stand in those before does not join. The best part of a sentence is searched among those that begin
and end where a clause does, or beside words that many texts have, as key phrases do (Rose et al. 2010, "Automatic
Keyword Extraction from Individual Documents").
"""

import tensorflow as tf

from data.sentences import join_sentences

# Worth is counted in whole numbers: their sum depends on no order, so an extract depends on no batch.
UNIT = 1 << 20
LONGEST_PART = 2  # times the length of a target
IMPOSSIBLE = -2.0  # a score below all others

CLAUSE_END = r".*(?:[,;:…–—-]\s|[，、；：—…]).*"
PART_EDGES = r"^[\s,;:…–—，、；：-]+|[\s,;:…–—，、；：-]+$"


def extracts(documents, worth, frequent, target_length, in_parts):
    """The extract of each text. Runs eagerly and in a SavedModel.

    Args:
        documents: `Documents` of B texts.
        worth: int64 (U, K), in `UNIT`s: the chance that the target has each distinct word at least once … K times.
        frequent: bool (U,), words that many texts have.
        target_length: float64 (B,), words of a target. A text that is no longer is its own extract.
        in_parts: True for the best part of a sentence, False for sentences in the order of the text.

    Returns:
        tf.string (B,).
    """
    sentences, text = documents.sentences, documents.text_of_sentence
    counts = tf.cast(documents.counts, tf.int64)
    lengths = tf.math.unsorted_segment_sum(counts, documents.sentence_of_word, tf.size(text))  # (S,)
    is_short = tf.cast(tf.math.unsorted_segment_sum(lengths, text, sentences.nrows()), tf.float64) <= target_length
    chosen = tf.gather(is_short, text)  # (S,)
    if not in_parts:
        chosen |= _best_sentences(documents, worth, target_length, lengths)
    joined = join_sentences(tf.boolean_mask(sentences.values, chosen), tf.boolean_mask(text, chosen), sentences.nrows())
    if in_parts:
        joined = tf.where(is_short, joined, _best_parts(documents, worth, frequent, target_length))
    return joined


def _best_sentences(documents, worth, target_length, lengths):
    """Which sentences join, bool (S,); `lengths` int64 (S,) are their words."""
    text, sentence = documents.text_of_sentence, documents.sentence_of_word
    num_texts, num_sentences = documents.sentences.nrows(), tf.size(text, tf.int64)
    numbers, target_lengths = tf.range(num_sentences), tf.gather(target_length, text)  # (S,)
    earlier = _earlier_in_sentence(documents)

    def of_texts(reduce, values):
        return reduce(values, text, num_texts)

    def step(chosen, used, shared, length, reached, _):
        used_before = tf.gather(used, documents.word_number)  # (W,)
        gain = tf.math.unsorted_segment_sum(_worth_of(documents, worth, used_before + earlier), sentence, num_sentences)
        unused = tf.cast(documents.counts & tf.equal(used_before, 0), tf.int64)
        says_more = tf.equal(lengths, 0) | (tf.math.unsorted_segment_sum(unused, sentence, num_sentences) > 0)  # (S,)
        score = _foretold(tf.gather(shared, text) + gain, tf.gather(length, text) + lengths, target_lengths)
        score = tf.where(says_more & ~chosen, score, IMPOSSIBLE)
        best = of_texts(tf.math.unsorted_segment_max, score)  # (B,), the lowest number where there is no sentence
        is_best = tf.equal(score, tf.gather(best, text)) & tf.gather(best > reached, text)
        first = of_texts(tf.math.unsorted_segment_min, tf.where(is_best, numbers, num_sentences))
        joins = tf.equal(numbers, tf.gather(first, text))  # (S,)
        used += tf.math.unsorted_segment_sum(tf.cast(tf.gather(joins, sentence), tf.int32), documents.word_number,
                                             tf.size(used))
        shared += of_texts(tf.math.unsorted_segment_sum, tf.where(joins, gain, 0))
        length += of_texts(tf.math.unsorted_segment_sum, tf.where(joins, lengths, 0))
        return chosen | joins, used, shared, length, tf.maximum(best, reached), tf.reduce_any(joins)

    nothing = tf.zeros([num_texts], tf.int64)
    # A score below that of nothing: one sentence joins even if its words are worth nothing.
    start = (tf.zeros([num_sentences], tf.bool), tf.zeros_like(documents.keys, tf.int32), nothing, nothing,
             tf.fill([num_texts], tf.constant(-0.5, tf.float64)), tf.constant(True))
    return tf.while_loop(lambda *state: state[-1], step, start)[0]


def _best_parts(documents, worth, frequent, target_length):
    """The part of a sentence with the highest score, tf.string (B,)."""
    sentence, num_texts = documents.sentence_of_word, documents.sentences.nrows()
    num_words, text = tf.size(sentence, tf.int64), tf.gather(documents.text_of_sentence, sentence)  # (W,)
    longest = tf.cast(tf.math.ceil(LONGEST_PART * tf.maximum(target_length, 1.0)), tf.int64)  # (B,)
    num_places = tf.reduce_max(tf.concat([longest, [1]], axis=0))  # L
    shared, length = (tf.concat([[0], tf.cumsum(values)], axis=0)  # (W + 1,): of all words before
                      for values in (_worth_of(documents, worth, _earlier_in_sentence(documents)),
                                     tf.cast(documents.counts, tf.int64)))
    begins, ends = _edges(documents, frequent)
    first = tf.where(begins)  # (P, 1)
    last = first + tf.range(num_places)  # (P, L)
    inside, text_of_part = tf.minimum(last, num_words - 1), tf.gather(text, first)
    too_long = first + tf.gather(longest, text_of_part)  # (P, 1)
    same_sentence = tf.equal(tf.gather(sentence, inside), tf.gather(sentence, first))
    within = tf.equal(inside, last) & same_sentence & (last < too_long)
    score = _foretold(tf.gather(shared, inside + 1) - tf.gather(shared, first),
                      tf.gather(length, inside + 1) - tf.gather(length, first),
                      tf.gather(target_length, text_of_part))
    # Only where nothing else is short enough, a part is cut at its greatest length.
    is_cut = tf.equal(last, too_long - 1)
    score = tf.where(tf.gather(ends, inside), score, tf.where(is_cut, score - 1, IMPOSSIBLE))
    score = tf.reshape(tf.where(within, score, IMPOSSIBLE), [-1])  # (P · L,)
    texts = tf.repeat(text_of_part[:, 0], num_places)
    best = tf.math.unsorted_segment_max(score, texts, num_texts)  # (B,)
    is_best = tf.equal(score, tf.gather(best, texts)) & (score > IMPOSSIBLE)
    num_parts = tf.size(score, tf.int64)
    number = tf.math.unsorted_segment_min(tf.where(is_best, tf.range(num_parts), num_parts), texts, num_texts)
    number = tf.minimum(number, num_parts)  # the one behind the last: none
    start = tf.gather(tf.concat([first[:, 0], [num_words]], 0), number // num_places)  # (B,)
    places = tf.range(num_words)
    chosen = (places >= tf.gather(start, text)) & (places <= tf.gather(start + number % num_places, text))
    parts = tf.strings.unsorted_segment_join(tf.boolean_mask(documents.words.values, chosen),
                                             tf.boolean_mask(text, chosen), num_texts)
    return tf.strings.regex_replace(parts, PART_EDGES, "")


def _edges(documents, frequent):
    """Where parts may begin and end, bool (W,) each."""
    words, sentence = documents.words.values, documents.sentence_of_word
    is_last = tf.concat([tf.not_equal(sentence[1:], sentence[:-1]), tf.ones_like(sentence[:1], tf.bool)], axis=0)
    clause_ends = is_last | tf.strings.regex_full_match(words, CLAUSE_END)
    frequent = tf.gather(frequent, documents.word_number)
    before_space = tf.strings.regex_full_match(words, r".*\s")
    begins = _shifted(clause_ends, 1) | _shifted(before_space & frequent, 1) & ~frequent
    return begins, clause_ends | before_space & ~frequent & _shifted(frequent, -1)


def _shifted(values, by):
    """bool (W,): of each word the neighbour's before it (1) or after it (-1); True at the end."""
    edge = tf.ones_like(values[:1])
    return tf.concat([edge, values[:-1]] if by == 1 else [values[1:], edge], axis=0)


def _foretold(shared, length, target_length):
    """The ROUGE-1 F1 of so many shared words, int64 in `UNIT`s, among `length` int64 ones: float64."""
    return 2 / UNIT * tf.cast(shared, tf.float64) / (tf.cast(length, tf.float64) + target_length)


def _worth_of(documents, worth, times):
    """What each word adds if its like has been counted so many times (int32) before: int64 (W,)."""
    column = tf.minimum(times, tf.shape(worth)[1] - 1)
    worths = tf.gather_nd(worth, tf.stack([documents.word_number, column], axis=1))
    return tf.where(documents.counts, worths, 0)


def _earlier_in_sentence(documents):
    """How often the same word stands earlier in its sentence, int32 (W,)."""
    pairs = documents.sentence_of_word * tf.size(documents.keys, tf.int64) + tf.cast(documents.word_number, tf.int64)
    order = tf.argsort(pairs, stable=True)
    _, group = tf.unique(tf.gather(pairs, order))
    places = tf.range(tf.size(order))
    first = tf.math.unsorted_segment_min(places, group, tf.size(order))
    return tf.gather(places - tf.gather(first, group), tf.math.invert_permutation(order))
