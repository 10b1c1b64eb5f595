"""Texts in, questions that are made of them out, to learn from before people's: noisy clozes.

A phrase of a sentence is the answer, a question word among some of the words around it the question, the passage that
the sentence stands in the text (Lewis et al. 2019, "Unsupervised Question Answering by Cloze Translation", section 2.3).
Nobody asks like that, but a model that answers has learned to find the place that a question is about.
"""

import functools
import re
import unicodedata
import zlib

import numpy as np
import tensorflow as tf

from data.corpus import in_batches
from data.questions import Question
from data.sentences import CLOSING, cut_sentences
from data.vocabulary import APOSTROPHES, CHINESE, UNSPACED_NAMES

SENTENCES = 12  # of a passage
QUESTIONS = 2  # about a passage, of two sentences
SHORTEST_SENTENCE, LONGEST_SENTENCE = 8, 200  # in pieces; no question of shorter ones, no place for lists and tables
LONGEST_ANSWER = 24  # in pieces
AROUND = 8  # pieces on either side of the answer, that the question is made of
DROPPED = 0.2  # share of these that are left out
FEWEST = 4  # of these, on one side, for a question that leaves out the other side
BATCH_CHARACTERS = 1_000_000
_MARKS = " ,.;:!?，。、；：！？…"
_CLOSED = re.compile(f"[。！？；]{CLOSING}$")  # what no space follows


def cloze_questions(texts, tokenizer):
    """Makes questions of texts; of the same text, by the same tokenizer, always the same ones.

    Args:
        texts: iterable of str, cleaned.
        tokenizer: `Tokenizer`; where words stand without spaces, answers begin and end where its tokens do.

    Yields:
        `data.questions.Question`; its article is the text.
    """
    for batch in in_batches(texts, BATCH_CHARACTERS):
        sentences = cut_sentences(tf.constant(batch))
        pieces, splits = _pieces(sentences.values, tokenizer), sentences.row_splits.numpy()
        for text, first, end in zip(batch, splits[:-1], splits[1:]):
            random = np.random.default_rng(zlib.crc32(text.encode()))
            fitting = [row for row in pieces[first:end] if len(row) <= LONGEST_SENTENCE]
            for start in range(0, len(fitting), SENTENCES):
                yield from _about_passage(fitting[start : start + SENTENCES], text, random)


def _pieces(sentences, tokenizer):
    """Cuts sentences into words, or tokens where a script has no spaces, each with the space behind it.

    Args:
        sentences: tf.string (S,).

    Returns:
        list of S lists; joined, they are the sentences.
    """
    _, starts, _ = tokenizer.encode_with_offsets(sentences)
    pieces = []
    for sentence, row in zip(sentences.numpy(), starts.numpy()):
        # A character that is normalised to a space and something else has tokens that start in another order.
        cuts = np.maximum.accumulate(row)[1:]
        words = []
        for start, end in zip([0, *cuts], [*cuts, len(sentence)]):
            piece = sentence[start:end].decode()
            if words and piece and _in_word(words[-1][-1]) and _in_word(piece[0]):
                words[-1] += piece
            elif piece:
                words.append(piece)
        pieces.append(words)
    return pieces


@functools.lru_cache(maxsize=100_000)
def _in_word(character):
    """Whether words of a script with spaces are made of it."""
    return ((unicodedata.category(character)[0] in "LMN" or character in APOSTROPHES)
            and not unicodedata.name(character, "").startswith(UNSPACED_NAMES))


def _about_passage(sentences, text, random):
    """Yields questions about a passage, its sentences given as lists of pieces."""
    whole = ["".join(sentence) for sentence in sentences]
    spaced = [sentence if _CLOSED.search(sentence) else sentence + " " for sentence in whole]
    context = "".join(spaced).rstrip()
    usable = [number for number, sentence in enumerate(sentences) if len(sentence) >= SHORTEST_SENTENCE]
    for number in random.permutation(np.array(usable, int))[:QUESTIONS]:
        pieces = sentences[number]
        first, end = _choose_answer(pieces, random)
        phrase = "".join(pieces[first:end])
        answer = phrase.strip(_MARKS)
        question = _ask(pieces, first, end, random)
        if question and _says_something(answer) and (len(answer) > 1 or answer.isdecimal()):
            start = len("".join([*spaced[:number], *pieces[:first]])) + phrase.index(answer)
            yield Question(question, context, (answer,), (start, start + len(answer)), text)


def _says_something(piece):
    return any(map(str.isalnum, piece))


def _choose_answer(pieces, random):
    """Which pieces [first, end) are the answer; half of all answers, at least, begin or end where a clause does."""
    length = round(np.exp(random.uniform(0, np.log(min(LONGEST_ANSWER, len(pieces) // 2)))))
    firsts = np.arange(len(pieces) - length + 1)
    marks = np.array([not _says_something(piece) for piece in pieces])
    at_edge = np.append(True, marks)[firsts] | np.append(marks, True)[firsts + length]
    first = random.choice(firsts[at_edge] if random.random() < 0.5 else firsts)
    return first, first + length


def _ask(pieces, first, end, random):
    """A question word in the place of the pieces [first, end), with others from around it; None if it has nothing there."""
    before, after = ([piece if random.random() >= DROPPED else " " * piece.endswith(" ") for piece in side]
                     for side in (pieces[max(0, first - AROUND) : first], pieces[end : end + AROUND]))
    one_sided = [(left, right) for left, right in ((before, []), ([], after))
                 if sum(bool(piece.strip()) for piece in left + right) >= FEWEST]
    if one_sided and random.random() < 0.5:
        before, after = one_sided[random.integers(len(one_sided))]
    if not any(map(_says_something, before + after)):
        return None
    is_number = any(map(str.isdecimal, "".join(pieces[first:end])))
    if 2 * sum(bool(CHINESE.search(piece)) for piece in pieces) > sum(map(_says_something, pieces)):
        asked, mark = "多少" if is_number else "什么", "？"
    else:
        asked, mark = " how many " if is_number else " what ", "?"
    return " ".join("".join([*before, asked, *after]).strip(_MARKS).split()) + mark
