"""A vocabulary taken over finds what `tokenizers`' BertWordPieceTokenizer and KerasHub's own tokenizers find in it."""

import functools
import gzip
import itertools
import json
import string
import unicodedata
from pathlib import Path

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from data.tokenizer import CLS, MASK, PAD, SEP, SPECIAL_TOKENS, UNK, Tokenizer
from data.wordpiece import STAND_IN, wordpiece_tokenizer
from models.hub import import_keras_hub

TEXTS = (
    "The film was good, and the actors were even better than the story.", "unwanted RUNNING; don't re-run it!",
    'She said: "What a waste of time" (and money) - but her brother loved it.', "这部电影非常好看,我很喜欢.",
    "质量很差 very bad 不值得推荐", "café naïve", "", "  ", "a\tb\nc\r\nd", "100% $5 `x` ~y^z|", "我a我b1", "x" * 100,
    "x" * 101, "the" * 34, "z" * 300, "我" * 200, "[CLS] [UNK] #the ##the",
)
ODD = (
    "…", "“x” ‘y’ «z»", "ＡＢＣ　１２３，。", "a\u00a0b\u3000c\u2028d\u200be\u00adf", "\0\x0b\x7f\x85\ufffd\ufeff\ue000",
    "e\u0301te É ß İ Σς", "▁the ▁▁ a▁", "한국어 각", "☃ ❤\ufe0f", "\u037e \u1fef \u2260 ½ ﬁ", "豈\U0002f800",
    "カタカナ・ひらがな", "ภาษาไทย", "a\u0300\u0315\u0327",
)
WORDS = ("the film was good and actors un run better story café naive don t re love my 电影 ▁ … “ ” ， 。 ☃ é ß ½ 각 豈 豈 か "
         "カ ก i̇ σ ς ❤ aa aaa the▁").split()
CHARACTERS = [*string.ascii_letters, *string.digits, *string.punctuation, *"这部电影非常好看我很喜欢质量差不值得推荐日"]
CONTINUATIONS = [f"##{token}" for token in [*WORDS, *string.ascii_letters, "wanted", "ning", "\ufe0f"]]
VOCABULARY = list(dict.fromkeys(
    ["[PAD]", "[unused0]", "", "##", "[UNK]", "[CLS]", *WORDS, "[SEP]", "[MASK]", *CHARACTERS, *CONTINUATIONS]))
# `tokenizers` knows the categories of Unicode 8; these characters had theirs in 3.2 and have them still.
SETTLED = [chr(number) for number in range(0x30000) if not 0xD800 <= number < 0xE000
           and unicodedata.category(chr(number)) not in ("Cn", "Co")
           and unicodedata.category(chr(number)) == unicodedata.ucd_3_2_0.category(chr(number))]
SETTINGS = [(True, True), (True, False), (False, False)]
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def reference_ids(vocabulary, lower_case, strip_accents, texts):
    """BertWordPieceTokenizer's, without the special tokens that it would see in a text."""
    from tokenizers import Tokenizer as ReferenceTokenizer
    from tokenizers.models import WordPiece

    model = WordPiece({token: number for number, token in enumerate(vocabulary)}, unk_token="[UNK]")
    reference = ReferenceTokenizer(model)
    reference.normalizer, reference.pre_tokenizer = reference_parts(lower_case, strip_accents)
    return [encoding.ids for encoding in reference.encode_batch(texts, add_special_tokens=False)]


def reference_parts(lower_case, strip_accents):
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    return BertNormalizer(lowercase=lower_case, strip_accents=strip_accents), BertPreTokenizer()


def ids_in_the_vocabulary(taken_over, texts):
    tokenizer, order = taken_over
    return [[order[number] for number in ids] for ids in tokenizer.encode(tf.constant(texts, tf.string)).to_list()]


@functools.cache
def take_over(*flags):
    return wordpiece_tokenizer(VOCABULARY, *flags)


@pytest.fixture(scope="module", params=SETTINGS, ids=str)
def taken_over(request):
    """(lower_case, strip_accents), (tokenizer, order)."""
    return request.param, take_over(*request.param)


def test_special_tokens_get_our_numbers_and_the_others_keep_their_order():
    tokenizer, order = take_over(True, True)
    assert sorted(order) == list(range(len(VOCABULARY))) and tokenizer.vocabulary_size == len(VOCABULARY)
    assert [VOCABULARY[order[number]] for number in (PAD, UNK, CLS, SEP, MASK)] == list(SPECIAL_TOKENS)
    assert order[5:] == sorted(order[5:])
    (ids,) = tokenizer.encode(["Unwanted, running!"]).to_list()
    assert [VOCABULARY[order[number]] for number in ids] == ["un", "##wanted", ",", "run", "##ning", "!"]
    assert [tokenizer.vocabulary[number] for number in ids] == ["▁un", "wanted", "▁,", "▁run", "ning", "▁!"]
    (the, unknown, mark, other) = tokenizer.encode(["the unжrun? ж"]).to_list()[0]
    assert unknown == other == UNK and [VOCABULARY[order[number]] for number in (the, mark)] == ["the", "?"]


def test_ids_equal_the_reference(taken_over):
    flags, tokenizer_and_order = taken_over
    texts = [*TEXTS, *ODD]
    expected = reference_ids(VOCABULARY, *flags, texts)
    assert ids_in_the_vocabulary(tokenizer_and_order, texts) == expected
    assert [ids_in_the_vocabulary(tokenizer_and_order, [text])[0] for text in texts] == expected  # whatever the batch


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(st.text(st.sampled_from("the un##run ning,.'我电影好▁\0…☃éÉ \n") | st.sampled_from(SETTLED),
                              max_size=120), max_size=6))
def test_ids_equal_the_reference_on_random_unicode(taken_over, texts):
    flags, tokenizer_and_order = taken_over
    assert ids_in_the_vocabulary(tokenizer_and_order, texts) == reference_ids(VOCABULARY, *flags, texts)


def test_every_character_is_read_as_the_reference_reads_it(taken_over):
    flags, (tokenizer, _) = taken_over
    normalizer, splitter = reference_parts(*flags)
    texts = [f"x{character}y" for character in SETTLED]
    found = [text.decode().replace(STAND_IN, "▁") for text in tokenizer.normalize(texts).numpy()]
    expected = [" ".join(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
                for text in texts]
    assert len(texts) > 90_000 and [pair for pair in zip(texts, found, expected) if pair[1] != pair[2]] == []


def keras_hub_ids(vocabulary, lower_case, strip_accents, texts):
    tokenizer = import_keras_hub().tokenizers.WordPieceTokenizer(vocabulary, lowercase=lower_case,
                                                                 strip_accents=strip_accents)
    return [list(ids) for ids in tokenizer.tokenize(list(texts))] if texts else []


def test_ids_equal_keras_hubs(taken_over):
    flags, tokenizer_and_order = taken_over
    assert ids_in_the_vocabulary(tokenizer_and_order, TEXTS) == keras_hub_ids(VOCABULARY, *flags, TEXTS)


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(st.text(st.sampled_from(CHARACTERS + list("the éÉüñ \n")), max_size=120), max_size=6))
def test_ids_equal_keras_hubs_on_random_texts(taken_over, texts):
    flags, tokenizer_and_order = taken_over
    assert ids_in_the_vocabulary(tokenizer_and_order, texts) == keras_hub_ids(VOCABULARY, *flags, texts)


def test_saving_and_loading(tmp_path):
    tokenizer, _ = take_over(True, True)
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert loaded.sha256 == tokenizer.sha256
    assert loaded.encode([*TEXTS, *ODD]).to_list() == tokenizer.encode([*TEXTS, *ODD]).to_list()


def test_a_missing_special_token_is_named():
    with pytest.raises(ValueError, match=r"must hold \[PAD\].* Received: 3 tokens without \[CLS\] \[SEP\]$"):
        wordpiece_tokenizer(["[PAD]", "[UNK]", "[MASK]"], True, True)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the real texts in ../shared/data are missing")
def test_ids_equal_both_references_on_real_texts():
    from tokenizers import BertWordPieceTokenizer

    texts = []
    for name in ("imdb", "online_shopping"):
        with gzip.open(SHARED_DATA / name / "test.jsonl.gz", "rt", encoding="utf-8") as lines:
            texts += [json.loads(line)["text"] for line in itertools.islice(lines, 1000)]
    trainer = BertWordPieceTokenizer(lowercase=True)
    trainer.train_from_iterator(texts, 8000, show_progress=False)
    vocabulary = [token for token, _ in sorted(trainer.get_vocab().items(), key=lambda item: item[1])]
    for flags in SETTINGS:
        found = ids_in_the_vocabulary(wordpiece_tokenizer(vocabulary, *flags), texts)
        assert found == reference_ids(vocabulary, *flags, texts)
    plain = [text for text in texts if text.isascii() or not set(text) - set(vocabulary) - set(string.printable)]
    assert len(plain) > 500
    taken_over = wordpiece_tokenizer(vocabulary, False, False)
    assert ids_in_the_vocabulary(taken_over, plain) == keras_hub_ids(vocabulary, False, False, plain)
