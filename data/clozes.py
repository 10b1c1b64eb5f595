"""Texts in, questions that are made of them out, to learn from before people's: noisy clozes.

A phrase of a sentence is the answer, a question word among some of the words around it the question, the passage that
the sentence stands in the text (Lewis et al. 2019, "Unsupervised Question Answering by Cloze Translation", section 2.3).
Nobody asks so, but who answers has learned to find the place that speaks of what was asked.
"""

import re
import zlib

import numpy as np
import tensorflow as tf

from data.corpus import in_batches
from data.questions import Question
from data.sentences import cut_sentences

SENTENCES = 12  # of a passage
QUESTIONS = 2  # about a passage, each about another sentence
SHORTEST_SENTENCE, LONGEST_ANSWER = 8, 24  # in pieces
AROUND = 8  # pieces on either side of the answer, of which the question is made,
DROPPED = 0.2  # but for this share of them;
FEWEST = 4  # one side is enough if it has so many
BATCH_CHARACTERS = 1_000_000
_MARKS = " ,.;:!?，。、；：！？…"
_HAN, _DIGIT = re.compile("[\u3400-\u9fff]"), re.compile(r"\d")


def cloze_questions(texts, tokenizer):
    """Makes questions of texts; of the same text always the same ones.

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
            for place in range(first, end, SENTENCES):
                yield from _about(pieces[place : min(place + SENTENCES, end)], text, random)


def _pieces(sentences, tokenizer):
    """tf.string (S,) → of each sentence a list of its words, or tokens where a script has no spaces; joined they are it."""
    _, starts, _ = tokenizer.encode_with_offsets(sentences)
    pieces = []
    for sentence, cuts in zip(sentences.numpy(), starts.numpy()):
        row = []
        for start, end in zip([0, *cuts[1:]], [*cuts[1:], len(sentence)]):
            piece = sentence[start:end].decode()
            if row and piece and _in_word(row[-1][-1], piece[0]):
                row[-1] += piece
            elif piece:
                row.append(piece)
        pieces.append(row)
    return pieces


def _in_word(left, right):
    return left.isalnum() and right.isalnum() and not _HAN.match(left) and not _HAN.match(right)


def _about(sentences, text, random):
    """Yields questions about a passage: lists of pieces, one for each sentence."""
    whole = ["".join(sentence) for sentence in sentences]
    spaced = [sentence if _HAN.search(sentence) else sentence + " " for sentence in whole]
    context = "".join(spaced).rstrip()
    long = [number for number, sentence in enumerate(sentences) if len(sentence) >= SHORTEST_SENTENCE]
    for number in random.permutation(len(long))[:QUESTIONS]:
        number = long[number]
        pieces = sentences[number]
        first, end = _answer(pieces, random)
        phrase = "".join(pieces[first:end])
        answer = phrase.strip(_MARKS)
        if len(answer) > 1 or answer.isdecimal():
            before = len("".join([*spaced[:number], *pieces[:first]]))
            start = before + len(phrase) - len(phrase.lstrip(_MARKS))
            question = _question(pieces, first, end, random)
            yield Question(question, context, (answer,), (start, start + len(answer)), text)


def _answer(pieces, random):
    """Chooses which pieces [first, end) are the answer; of two answers one begins or ends where a clause does."""
    length = round(np.exp(random.uniform(0, np.log(min(LONGEST_ANSWER, len(pieces) // 2)))))
    firsts = np.arange(len(pieces) - length + 1)
    marks = np.array([not piece.strip(_MARKS) for piece in pieces])
    at_edge = np.append(True, marks)[firsts] | np.append(marks, True)[firsts + length]
    first = random.choice(firsts[at_edge] if random.random() < 0.5 else firsts)
    return first, first + length


def _question(pieces, first, end, random):
    """A question word and pieces from around the answer."""
    before, after = ([piece for piece in side if random.random() >= DROPPED]
                     for side in (pieces[max(0, first - AROUND) : first], pieces[end : end + AROUND]))
    sides = [side for side in ((before, []), ([], after)) if len(side[0]) + len(side[1]) >= FEWEST]
    if sides and random.random() < 0.5:
        before, after = sides[random.integers(len(sides))]
    is_number = _DIGIT.search("".join(pieces[first:end]))
    if _HAN.search("".join(pieces)):
        asked, joint, mark = "多少" if is_number else "什么", "", "？"
    else:
        asked, joint, mark = "how many" if is_number else "what", " ", "?"
    return " ".join(joint.join([*before, asked, *after]).strip(_MARKS).split()) + mark
