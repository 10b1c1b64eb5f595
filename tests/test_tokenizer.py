"""The tokenizer against `tokenizers`' WordPiece behind an independent splitter, and against unicodedata."""

import gzip
import itertools
import json
import re
import sys
import unicodedata
from pathlib import Path

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from data.tokenizer import CLS, MASK, PAD, SEP, UNK, Tokenizer
from data.vocabulary import train_tokenizer
from data.words import LONGEST_WORD

ENGLISH = (
    "The film was good, and the actors were even better than the story.",
    "I don't think that this is a bad movie... it's only too long!",
    'She said: "What a waste of time" (and money) - but her brother loved it.',
    "An unforgettable performance by an unknown actress; 10/10, see it twice.",
    "Nothing happens for two hours, then everything happens at once.",
)
CHINESE = (
    "这部电影非常好看，演员的表演也很精彩。",
    "酒店的服务态度很差，房间又小又旧，我不会再来了！",
    "今天天气很好，我们去公园散步吧。",
    "这本书的内容很有意思，推荐大家购买。",
    "手机的电池不耐用，充电也很慢，屏幕倒是不错。",
)
TEXTS = tuple(
    f"{first} {second}" if number % 3 else f"{second}{first}"
    for number, (first, second) in enumerate(itertools.product(ENGLISH + CHINESE, repeat=2))
)
ODD = (
    "", " ", "\0", "\0a\0", "▁ a▁b", "…", " ½ﬁ ", "ＡＢＣ　１２３", "我 爱 你", " 我", "a我b 我c", "don't 'quoted' “x”",
    "☃", "☃☃ good☃movie", "the ☃ the", "\u200b\u00ad", "e\u0301te", "İstanbul", "ภาษาไทย ไทย", "カタカナ・ひらがな",
    "\ufffd", "x" * 100, "好" * 100, "!" * 100, "good " * 50, "[MASK] [UNK]", "❤\ufe0f", "a\u2028b\x85c\x1fd",
    "\U000f0000",
)  # fmt: skip
UNSPACED = re.compile("(NEW )?TAI|BOPOMOFO|CJK|HIRAGANA|IDEOGRAPHIC|KATAKANA|KHMER|LAO|MYANMAR|THAI|TIBETAN")
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS * 3, 600)


def reference_normalize(text: str, lower_case: bool = True) -> str:
    def normal(character):
        if character.isspace():
            return " "
        name = unicodedata.name(character, "")
        if unicodedata.category(character).startswith("C") or "VARIATION SELECTOR" in name:
            return ""
        composed = unicodedata.normalize("NFKC", character.replace("▁", "_"))
        return composed.lower() if lower_case else composed

    previous = None
    while previous != text:
        previous, text = text, "".join(map(normal, text))
    return re.sub(" +", " ", text).strip(" ")


def reference_words(normal: str, alphabet: set[str]) -> list[str]:
    """The words of a normalised text, ▁ for spaces; unknown characters by themselves."""

    def character_class(character):
        if unicodedata.category(character)[0] not in "LMN" and character not in "'’":
            return "symbols"
        return "unspaced" if UNSPACED.match(unicodedata.name(character, "")) else "letters"

    words = []
    for number, spaced in enumerate(normal.split(" ") if normal else []):
        runs = [(kind, "".join(run)) for kind, run in itertools.groupby(spaced, character_class)]
        if runs[0][0] != "unspaced":
            runs[0] = (runs[0][0], "▁" + runs[0][1])
        elif number > 0:
            runs.insert(0, ("space", "▁"))
        for _, run in runs:
            for start in range(0, len(run), LONGEST_WORD):
                cut = run[start : start + LONGEST_WORD]
                known = "".join(c if c in alphabet else f"\0{c}\0" for c in cut)
                words += [word for word in known.split("\0") if word]
    return words


def reference_ids(tokenizer: Tokenizer, texts) -> list[list[int]]:
    from tokenizers import Tokenizer as ReferenceTokenizer
    from tokenizers.models import WordPiece

    model = WordPiece(
        {piece: number for number, piece in enumerate(tokenizer.vocabulary)},
        unk_token="[UNK]",
        continuing_subword_prefix="",
        max_input_chars_per_word=LONGEST_WORD,
    )
    alphabet = {piece for piece in tokenizer.vocabulary if len(piece) == 1}
    words = [reference_words(reference_normalize(text, tokenizer.lower_case), alphabet) for text in texts]
    return [encoding.ids for encoding in ReferenceTokenizer(model).encode_batch(words, is_pretokenized=True)]


def text_of(values) -> list[str]:
    return [value.decode("utf-8") for value in values.numpy()]


def test_ids_equal_the_reference_on_sentences_and_odd_texts(tokenizer):
    texts = [*ENGLISH, *CHINESE, *TEXTS, *ODD]
    assert tokenizer.encode(texts).to_list() == reference_ids(tokenizer, texts)


@settings(max_examples=200, deadline=None)
@given(
    texts=st.lists(st.text(st.sampled_from("the ac'.我电影好▁\0…☃") | st.characters(codec="utf-8")), max_size=8)
)
def test_ids_equal_the_reference_on_random_unicode(tokenizer, texts):
    assert tokenizer.encode(tf.constant(texts, tf.string)).to_list() == reference_ids(tokenizer, texts)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_decoding_restores_the_normalised_text(tokenizer, data):
    known = {piece for piece in tokenizer.vocabulary if len(piece) == 1}
    alphabet = sorted(known | set(" \u3000ABCＡ…▁\n"))
    texts = data.draw(st.lists(st.text(st.sampled_from(alphabet), max_size=80), min_size=1, max_size=5))
    ids = tokenizer.encode(texts)
    assert UNK not in ids.flat_values.numpy()
    assert text_of(tokenizer.decode(ids)) == text_of(tokenizer.normalize(texts))
    assert text_of(tokenizer.decode(ids.to_tensor())) == text_of(tokenizer.normalize(texts))


@pytest.mark.parametrize("lower_case", [True, False])
def test_normalisation_equals_unicodedata_for_every_character(lower_case):
    tokenizer = train_tokenizer(TEXTS, 600, lower_case=lower_case)
    # Above U+32000 stand only variation selectors, tags and private characters.
    code_points = [*range(0xD800), *range(0xE000, 0x32000), *range(0x32000, 0x110000, 97), *range(0xE0000, 0xE0200)]
    texts = [f"x{chr(code_point)}y" for code_point in code_points]
    normal = text_of(tokenizer.normalize(texts))
    assert normal == [reference_normalize(text, lower_case) for text in texts]
    assert text_of(tokenizer.normalize(normal)) == normal


def test_markers_stand_for_spaces(tokenizer):
    def pieces(text):
        return [tokenizer.vocabulary[number] for number in tokenizer.encode([text]).flat_values]

    assert pieces("The film.") == ["▁the", "▁film", "."]
    assert pieces("the  电影 film") == ["▁the", "▁", "电影", "▁film"]
    assert pieces("电影the") == ["电影", "the"]
    assert pieces("☃ the☃") == ["▁", "[UNK]", "▁the", "[UNK]"]
    assert "".join(pieces("don't")) == "▁don't"


def test_special_tokens_in_decoded_text(tokenizer):
    (the,) = tokenizer.encode(["the"]).to_list()
    assert text_of(tokenizer.decode(tf.constant([[CLS, *the, MASK, UNK, SEP, PAD]]))) == ["the[MASK][UNK]"]


def test_no_text_and_broken_bytes(tokenizer):
    assert tokenizer.encode(tf.constant([], tf.string)).shape.as_list()[0] == 0
    assert tokenizer.decode(tokenizer.encode(tf.constant([], tf.string))).shape == [0]
    assert tokenizer.encode(["", "\0", " \n"]).to_list() == [[], [], []]
    good, broken = tokenizer.encode([b"good", b"go\xffod\xe4\xb8"]).to_list()
    assert UNK not in good and UNK in broken
    assert tokenizer.encode(["☃"]).to_list() == tokenizer.encode(["ꙮ"]).to_list()


def test_a_line_of_a_million_characters(tokenizer):
    for character in "a好!":
        line, single = tokenizer.encode([character * 1_000_000, character]).to_list()
        assert len(line) >= 1_000_000 / 16 and "".join(tokenizer.vocabulary[n] for n in line).strip("▁") == (
            character * 1_000_000
        )
        assert len(single) <= 2


def test_the_batch_does_not_matter(tokenizer):
    texts = [*ODD, *TEXTS[:40]]
    together = tokenizer.encode(texts).to_list()
    assert [tokenizer.encode([text]).to_list()[0] for text in texts] == together
    assert tokenizer.encode(texts[::-1]).to_list() == together[::-1]


def test_eager_dataset_function_and_saved_model_agree(tokenizer, tmp_path):
    texts = [*ODD, *TEXTS[:40]]
    expected = tokenizer.encode(texts).to_list()
    batches = tf.data.Dataset.from_tensor_slices(texts).batch(7).map(tokenizer.encode, num_parallel_calls=2)
    assert [ids for batch in batches for ids in batch.to_list()] == expected
    assert tf.function(lambda batch: tokenizer.encode(batch))(tf.constant(texts)).to_list() == expected

    module = tf.Module()
    module.tokenizer = tokenizer
    module.dense = tf.function(lambda batch: tokenizer.encode(batch).to_tensor(PAD))
    module.dense.get_concrete_function(tf.TensorSpec([None], tf.string))
    tf.saved_model.save(module, str(tmp_path / "saved"))
    reloaded = tf.saved_model.load(str(tmp_path / "saved"))
    dense = reloaded.dense(tf.constant(texts)).numpy().tolist()
    assert [[number for number in ids if number != PAD] for ids in dense] == expected
    assert reloaded.tokenizer.encode(tf.constant(texts)).to_list() == expected


def test_saving_and_loading(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert loaded.vocabulary == tokenizer.vocabulary and loaded.sha256 == tokenizer.sha256
    assert loaded.lower_case and loaded.vocabulary_size == len(loaded.vocabulary)
    assert loaded.encode(ODD).to_list() == tokenizer.encode(ODD).to_list()


@pytest.mark.parametrize(
    "change",
    [
        lambda definition: definition.update(version=99),
        lambda definition: definition.pop("vocabulary"),
        lambda definition: definition.update(vocabulary=["a", "b"]),
        lambda definition: definition.update(normalization=[]),
        lambda definition: definition.update(letters=5),
    ],
)
def test_a_broken_file_is_named(tokenizer, tmp_path, change):
    definition = json.loads(tokenizer.definition_text)
    change(definition)
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(definition), encoding="utf-8")
    with pytest.raises(ValueError, match="broken.json"):
        Tokenizer.load(path)


@pytest.mark.parametrize("content", ["", "no json", "[1]", "7"])
def test_a_file_that_is_no_tokenizer_is_named(tmp_path, content):
    path = tmp_path / "broken.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match="broken.json"):
        Tokenizer.load(path)
    with pytest.raises(FileNotFoundError):
        Tokenizer.load(tmp_path / "missing.json")


def test_tensorflow_text_is_never_imported(tokenizer):
    assert "tensorflow_text" not in sys.modules


@pytest.mark.slow
@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the real texts in ../shared/data are missing")
def test_ids_equal_the_reference_on_real_sentences():
    texts = []
    for name in ("imdb", "online_shopping"):
        with gzip.open(SHARED_DATA / name / "test.jsonl.gz", "rt", encoding="utf-8") as lines:
            texts += [json.loads(line)["text"] for line in itertools.islice(lines, 2500)]
    tokenizer = train_tokenizer(texts, 8000)
    sentences = [sentence for text in texts for sentence in re.split("(?<=[.!?。！？])", text) if sentence]
    sentences = sentences[:: max(1, len(sentences) // 20_000)]
    assert len(sentences) >= 20_000
    assert tokenizer.encode(sentences).to_list() == reference_ids(tokenizer, sentences)
