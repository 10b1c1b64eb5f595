"""Training: determinism, order and limits of the vocabulary, errors, words of Chinese."""

from collections import Counter

import pytest

from data import vocabulary
from data.tokenizer import SPECIAL_TOKENS
from data.vocabulary import LONGEST_PIECE, train_tokenizer
from tests.test_tokenizer import CHINESE, ENGLISH, TEXTS


def test_training_is_deterministic():
    assert train_tokenizer(TEXTS, 600).sha256 == train_tokenizer(iter(TEXTS), 600).sha256
    assert train_tokenizer(TEXTS, 600).sha256 != train_tokenizer(TEXTS, 600, lower_case=False).sha256


def test_the_vocabulary():
    tokenizer = train_tokenizer(TEXTS, 600)
    assert tuple(tokenizer.vocabulary[:5]) == SPECIAL_TOKENS
    assert len(set(tokenizer.vocabulary)) == tokenizer.vocabulary_size <= 600
    assert max(map(len, tokenizer.vocabulary[5:])) <= LONGEST_PIECE
    assert {"▁", "a", "~", "电", "▁the", "电影", "酒店"} <= set(tokenizer.vocabulary)
    assert "A" not in tokenizer.vocabulary


def test_capitals_stay_when_asked():
    tokenizer = train_tokenizer(TEXTS, 600, lower_case=False)
    assert "T" in tokenizer.vocabulary
    assert tokenizer.decode(tokenizer.encode(["The Film"])).numpy().tolist() == [b"The Film"]


def test_characters_alone_when_asked():
    tokenizer = train_tokenizer(["Aa a\n\nbb 很", "b"], 100, characters=True)
    assert tokenizer.vocabulary[5:] == ["\n", "A", "a", "b", "▁", "很"]
    few = train_tokenizer(["Aa a\n\nbb 很", "b"], 8, characters=True)
    assert few.vocabulary[5:] == ["\n", "b", "▁"]  # of "\n" and "a", as frequent, the first
    with pytest.raises(ValueError, match="room for two.*Received: 5 different characters, room for 1"):
        train_tokenizer(["Aa a\n\nbb 很", "b"], 6, characters=True)


def test_a_small_corpus_yields_a_small_vocabulary():
    assert train_tokenizer(["good"], 30_000).vocabulary_size < 100


def test_too_small_a_vocabulary_is_an_error():
    with pytest.raises(ValueError, match="vocabulary_size=50; raise it to"):
        train_tokenizer(TEXTS, 50)


@pytest.mark.parametrize("texts", [[], [""], [" ", "\0"]])
def test_no_text_is_an_error(texts):
    with pytest.raises(ValueError, match="no characters"):
        train_tokenizer(texts, 600)


def test_lone_surrogates_do_no_harm():
    assert train_tokenizer(["good \ud800 movie"], 600).vocabulary_size


def test_progress_counts_every_text(monkeypatch):
    monkeypatch.setattr(vocabulary, "BATCH_CHARACTERS", 200)
    read = []
    tokenizer = train_tokenizer(TEXTS, 600, progress=read.append)
    assert sum(read) == len(TEXTS) and len(read) > 1
    monkeypatch.undo()
    assert tokenizer.vocabulary == train_tokenizer(TEXTS, 600).vocabulary


def test_the_counter_is_pruned(monkeypatch):
    monkeypatch.setattr(vocabulary, "BATCH_CHARACTERS", 200)
    monkeypatch.setattr(vocabulary, "MOST_COUNTED_WORDS", 60)
    tokenizer = train_tokenizer(ENGLISH * 20, 600)
    assert "▁the" in tokenizer.vocabulary


def test_a_bag_gets_chinese_characters_and_whole_words_seen_once():
    tokenizer = train_tokenizer([*TEXTS, "an unforgettable film"], 30_000, for_bag=True)
    pieces = set(tokenizer.vocabulary)
    assert {"▁unforgettable", "电", "影"} <= pieces and "电影" not in pieces
    assert tokenizer.decode(tokenizer.encode(["这是电影"])).numpy()[0].decode() == "这是电影"


def test_every_occurrence_of_a_word_counts():
    words = Counter({"我的书和你的书，书": 10, "▁a": 3})
    counts = vocabulary._segmented(words, for_bag=False)
    assert (counts["书"], counts["的"], counts["和"], counts["▁a"]) == (30, 20, 10, 3) and not counts[""]


def test_only_a_sample_of_chinese_is_segmented(monkeypatch):
    monkeypatch.setattr(vocabulary, "MOST_SEGMENTED_CHARACTERS", 40)
    assert train_tokenizer(CHINESE * 20, 600).vocabulary_size > 100
