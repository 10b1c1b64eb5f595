"""Texts (an iterator of str) in, a trained Tokenizer out: character tables, alphabet, pieces, frequent words.

Words are counted as data/words.py cuts them, so what is counted is what will be encoded. Runs of Chinese
characters are segmented with jieba, so that words of 2-4 characters become pieces; byte-pair merges (Sennrich
et al. 2016, arXiv:1508.07909) from the `tokenizers` library choose the pieces. Memory is bounded: the counter
of words is pruned, the texts are never kept.
"""

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache

import numpy as np
import tensorflow as tf

from data.corpus import in_batches
from data.tokenizer import FORMAT_VERSION, SPECIAL_TOKENS, Tokenizer
from data.words import MARKER, WordSplitter

LONGEST_PIECE = 16  # characters
COVERAGE = 0.9995  # of the text's characters are in the alphabet; the rest becomes [UNK]
FREQUENT_WORDS = 50_000
MOST_COUNTED_WORDS = 2_000_000
# jieba segments 0.14 million characters a second, and the trainer wants every word as often as it occurs. Twice as many
# of both take 4 s longer and spare no tokens of held-out text: English -0.1 %, Chinese +0.3 % (8,192 pieces), -0.1 and
# +0.2 % (32,768).
MOST_SEGMENTED_CHARACTERS = 500_000
MOST_OCCURRENCES = 2_000_000
BATCH_CHARACTERS = 1 << 18  # counted at once
# Of text to learn from: more teaches nothing. Beside 67 MB, nine sets in two languages, 8,192 pieces learned from 32 MB
# make -0.1 % tokens of held-out English and +0.3 % of Chinese, 32,768 pieces +0.1 and +0.2 % (from 8 MB +0.6, +0.4 %).
SAMPLE_BYTES = 32_000_000
APOSTROPHES = "'\u2019"
# The first words of the Unicode names of characters of scripts that are written without spaces.
UNSPACED_NAMES = (
    "BOPOMOFO", "CJK", "HIRAGANA", "IDEOGRAPHIC", "KATAKANA", "KHMER", "LAO", "MYANMAR", "NEW TAI LUE", "TAI",
    "THAI", "TIBETAN",
)  # fmt: skip
CHINESE = re.compile("([\u3007\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]+)")


def train_tokenizer(
    texts: Iterable[str], vocabulary_size: int, *, lower_case: bool = True, characters: bool = False,
    for_bag: bool = False, progress: Callable | None = None
) -> Tokenizer:
    """Trains a tokenizer of at most `vocabulary_size` pieces (fewer if the texts yield fewer); deterministic.

    characters: pieces are characters, the most frequent ones, in their case; the end of a line is one of them. Of what
    the normalisation changes, spaces beside spaces and compatibility characters are still changed.
    for_bag: for a bag of n-grams, which learns from words seen once too and makes Chinese words of characters by
    itself: words seen once may be pieces, Chinese words are not. Development splits: the baseline on TREC, mean of 3
    seeds, .876 → .879; fastText's pairs and triples of these pieces on ChnSentiCorp .866 → .907.
    progress: called with the number of texts read since the last call. Raises ValueError when the texts are
    empty or their alphabet leaves no room for pieces.
    """
    lower_case = lower_case and not characters
    definition = {"version": FORMAT_VERSION, "lower_case": lower_case, **character_classes(lower_case, characters)}
    words, counts = _count(texts, WordSplitter(definition), progress)
    # Ties in alphabetical order, so that the order of counting does not matter.
    definition["frequent_words"] = sorted(words, key=lambda word: (-words[word], word))[:FREQUENT_WORDS]
    if characters:
        pieces = _most_frequent(counts, vocabulary_size - len(SPECIAL_TOKENS))
        return Tokenizer({**definition, "vocabulary": [*SPECIAL_TOKENS, *pieces]})
    alphabet = _alphabet(counts, lower_case)
    smallest = len(SPECIAL_TOKENS) + len(alphabet)
    if smallest > vocabulary_size:
        raise ValueError(
            f"a vocabulary must hold the {len(SPECIAL_TOKENS)} special tokens and the characters of "
            f"{COVERAGE:.2%} of the text: {smallest} in this text, got vocabulary_size={vocabulary_size}; "
            f"raise it to {smallest} at least, better {2 * smallest} or more"
        )
    definition["vocabulary"] = _train_pieces(_segmented(words, for_bag), alphabet, vocabulary_size,
                                               fewest_occurrences=1 if for_bag else 2)
    return Tokenizer(definition)


@cache
def character_classes(lower_case: bool, keep_lines: bool = False) -> dict:
    """This Python's Unicode database as the ranges WordSplitter reads: normalization, letters, unspaced."""
    normalization, letters, unspaced = [], [], []
    for code_point in range(0x110000):
        character = chr(code_point)
        normal = character if keep_lines and character == "\n" else _normalized(character, lower_case)
        if normal != character:
            extend(normalization, code_point, normal)
        elif unicodedata.category(character)[0] in "LMN" or character in APOSTROPHES:
            is_unspaced = unicodedata.name(character, "").startswith(UNSPACED_NAMES)
            extend(unspaced if is_unspaced else letters, code_point)
    return {"normalization": normalization, "letters": letters, "unspaced": unspaced}


def extend(ranges: list, code_point: int, *value: str) -> None:
    """Adds a code point to [first, last, …value] ranges in ascending order: to the last one, or as a new one."""
    if ranges and ranges[-1][1] == code_point - 1 and ranges[-1][2:] == list(value):
        ranges[-1][1] = code_point
    else:
        ranges.append([code_point, code_point, *value])


def _normalized(character: str, lower_case: bool) -> str:
    """NFKC, lower case; white space → space; controls, unassigned, private use → nothing. Idempotent."""
    if character.isspace():
        return " "
    # Variation selectors choose a glyph ("❤" in colour), not a character.
    if unicodedata.category(character)[0] == "C" or "VARIATION SELECTOR" in unicodedata.name(character, ""):
        return ""
    if character == MARKER:
        return "_"
    text = unicodedata.normalize("NFKC", character)
    text = text.lower() if lower_case else text
    return text if text == character else "".join(_normalized(part, lower_case) for part in text)


def _count(texts, splitter, progress) -> tuple[Counter, np.ndarray]:
    """How often each word (with its ▁) occurs, and each code point int64 (table_size,)."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def count(texts):
        characters, word_splits, _ = splitter.words(texts)
        words = tf.RaggedTensor.from_row_splits(characters, word_splits, validate=False)
        unique, _, counts = tf.unique_with_counts(tf.strings.unicode_encode(words, "UTF-8"))
        return unique, counts, tf.math.bincount(characters, minlength=splitter.table_size)

    words, characters, rare = Counter(), np.zeros(splitter.table_size, np.int64), 0
    for batch in in_batches(texts, BATCH_CHARACTERS):
        # A lone surrogate has no UTF-8.
        unique, counts, histogram = count(tf.constant([text.encode("utf-8", "replace") for text in batch], tf.string))
        words.update(dict(zip(unique.numpy().tolist(), counts.numpy().tolist())))
        characters += histogram.numpy()
        while len(words) > MOST_COUNTED_WORDS:
            rare += 1
            words = Counter({word: number for word, number in words.items() if number > rare})
        if progress:
            progress(len(batch))
    return Counter({word.decode("utf-8"): number for word, number in words.items()}), characters


def _most_frequent(counts: np.ndarray, most: int) -> list[str]:
    """So many of the most frequent characters at most, ▁ always among them, in the order of their code points."""
    order = np.argsort(-counts, kind="stable")
    found = [chr(c) for c in order if counts[c] and c != ord(MARKER)]
    if not found or most < 2:
        raise ValueError("a vocabulary of characters needs text and room for two beside the special tokens. Received: "
                         f"{len(found)} different characters, room for {max(most, 0)}")
    return sorted([*found[: most - 1], MARKER])


def _alphabet(characters: np.ndarray, lower_case: bool) -> list[str]:
    """The most frequent characters up to COVERAGE, and printable ASCII, in the order of their code points."""
    counts = characters.copy()
    counts[ord(MARKER)] = 0  # the text's own spaces
    if not counts.any():
        raise ValueError("a tokenizer needs text to learn from: the texts hold no characters; check them")
    order = np.argsort(-counts, kind="stable")
    enough = int(np.searchsorted(np.cumsum(counts[order]), COVERAGE * counts.sum())) + 1
    ascii_characters = {chr(c) for c in range(ord("!"), ord("~") + 1)}
    if lower_case:
        ascii_characters = {character.lower() for character in ascii_characters}
    return sorted({chr(c) for c in order[:enough] if counts[c]} | ascii_characters | {MARKER})


def _segmented(words: Counter, for_bag: bool) -> Counter:
    """The words; runs of Chinese characters cut by jieba (a sample of them, weighted up), or left out for a bag."""
    segmented = Counter({word: number for word, number in words.items() if not CHINESE.search(word)})
    if for_bag:
        return segmented  # the alphabet has the characters
    import jieba

    jieba.setLogLevel(logging.ERROR)
    runs = [word for word in words if CHINESE.search(word)]
    step = 1 + sum(map(len, runs)) // MOST_SEGMENTED_CHARACTERS
    for run in runs[::step]:
        for part in CHINESE.split(run):
            for piece in jieba.cut(part) if CHINESE.match(part) else filter(None, [part]):
                segmented[piece] += step * words[run]
    return segmented


def _train_pieces(words: Counter, alphabet: list[str], vocabulary_size: int, fewest_occurrences: int) -> list[str]:
    """SPECIAL_TOKENS, the alphabet and the merged pieces, most useful first."""
    from tokenizers import Tokenizer as MergeTokenizer
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer

    share = min(1.0, MOST_OCCURRENCES / max(1, words.total()))
    known = set(alphabet)
    occurrences = ([word] * round(share * words[word]) for word in sorted(words) if known.issuperset(word))
    trainer = BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=fewest_occurrences,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        max_token_length=LONGEST_PIECE,
        show_progress=False,
    )
    tokenizer = MergeTokenizer(BPE())
    tokenizer.train_from_iterator(occurrences, trainer)
    ids = tokenizer.get_vocab()
    return sorted(ids, key=ids.get)
