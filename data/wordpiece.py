"""A WordPiece vocabulary, as BERT and its kin have one, in; the `Tokenizer` that finds the same pieces out.

Devlin et al. 2019 (arXiv:1810.04805; google-research/bert, tokenization.py) read a text so:
1. controls go, white space becomes a space; where the vocabulary asks for it, accents go (NFD without nonspacing
   marks) and letters become small;
2. words stand between spaces; each punctuation mark and each Chinese character is a word;
3. of a word the longest piece is taken that begins it, then from there on the longest one marked ##, and so forth. A
   word with a part that is no piece, or of more than 100 characters, is one [UNK].

Here the mark is on the other side: what begins a word begins with ▁, "the" is "▁the" and "##ing" is "ing". Special
tokens get this project's numbers, so the ids are the vocabulary's in another order.

Tested against `tokenizers`' BertWordPieceTokenizer. KerasHub's own tokenizers give the same ids for letters, digits,
Chinese, ASCII's punctuation and spaces. Where they lower-case they also apply NFKC ("…" becomes "...", "，" ","), and
they take no-break and ideographic spaces for letters: that is not what the weights were trained with.
"""

import unicodedata
from functools import cache

from data.tokenizer import FORMAT_VERSION, SPECIAL_TOKENS, Tokenizer
from data.vocabulary import extend
from data.words import MARKER

CONTINUATION = "##"
LONGEST_WORD = 101  # characters, the marker included
STAND_IN = "\ue000"  # for a ▁ in the text: of private use, so that no text has it
CHINESE = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
           (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0x2F800, 0x2FA1F))


def wordpiece_tokenizer(vocabulary: list[str], lower_case: bool, strip_accents: bool) -> tuple[Tokenizer, list[int]]:
    """A vocabulary taken over.

    Args:
        vocabulary: V tokens, those that go on with a word marked ##.
        lower_case, strip_accents: what is done to a text.

    Returns:
        (the tokenizer, of V pieces; V numbers: where the token of each of its ids stands in `vocabulary`).

    Raises:
        ValueError: a special token is missing.
    """
    missing = [token for token in SPECIAL_TOKENS if token not in vocabulary]
    if missing:
        raise ValueError(f"a WordPiece vocabulary must hold {' '.join(SPECIAL_TOKENS)}. Received: {len(vocabulary)} "
                         f"tokens without {' '.join(missing)}")
    special = [vocabulary.index(token) for token in SPECIAL_TOKENS]
    order = special + sorted(set(range(len(vocabulary))) - set(special))
    pieces = [_piece(vocabulary[number]) for number in order[len(special) :]]
    return Tokenizer({
        "version": FORMAT_VERSION, "lower_case": lower_case, "longest_word": LONGEST_WORD,
        **_character_classes(lower_case, strip_accents), "vocabulary": [*SPECIAL_TOKENS, *pieces],
        "frequent_words": [piece for piece in pieces if piece.startswith(MARKER)],
    }), order


def _piece(token: str) -> str:
    """A token with the mark on the other side."""
    plain = token.replace(MARKER, STAND_IN)
    if plain.startswith(CONTINUATION) and len(plain) > len(CONTINUATION):
        return plain.removeprefix(CONTINUATION)
    return MARKER + (plain or " ")  # of an empty line: no word has a space


@cache
def _character_classes(lower_case: bool, strip_accents: bool) -> dict:
    """This Python's Unicode database as the ranges WordSplitter reads: what is no space is a letter or stands alone."""
    normalization, alone = [], []
    for code_point in range(0x110000):
        character = chr(code_point)
        normal = _normalized(character, lower_case, strip_accents)
        if normal == f" {character} ":
            extend(alone, code_point)
        elif normal != character:
            extend(normalization, code_point, normal)
    return {"normalization": normalization, "alone": alone, "letters": [[0, 0x10FFFF]], "unspaced": []}


def _normalized(character: str, lower_case: bool, strip_accents: bool) -> str:
    """What becomes of a character; spaces around what stands alone."""
    category = unicodedata.category(character)
    if character in " \t\n\r" or (character.isspace() and category[0] != "C"):
        return " "
    if category[0] == "C" or character == "\ufffd":
        return ""
    if character == MARKER:
        return STAND_IN
    text = character
    if strip_accents:
        text = "".join(part for part in unicodedata.normalize("NFD", text) if unicodedata.category(part) != "Mn")
    if lower_case:
        text = text.lower()
    is_chinese = any(first <= ord(character) <= last for first, last in CHINESE)
    return "".join(f" {part} " if is_chinese or _is_punctuation(part) else part for part in text)


def _is_punctuation(character: str) -> bool:
    """Of Unicode's punctuation, or of ASCII neither letter nor digit ("$", "`" …)."""
    return unicodedata.category(character)[0] == "P" or ("!" <= character <= "~" and not character.isalnum())
