"""Texts → documents: cleaned of duplicates and of held-out texts, split by their hash."""

import random

import pytest

from data.corpus import build_corpus
from data.duplicates import exact_hash, fold


def random_text(source, length=200):
    return "".join(source.choices("abcdefghij klmnop好的是不了\n", k=length)).strip()


def test_a_small_corpus(tmp_path):
    source = random.Random(0)
    texts = [random_text(source) for _ in range(300)]
    held_out = [texts[0].upper(), texts[1][:100] + "#" + texts[1][100:], "another text"]
    near = texts[5][:50] + "x" + texts[5][50:]
    near_twice = texts[0][:-1]
    advanced = []
    read = ["", "x", *texts, texts[7].replace(" ", "\t"), near, near_twice, texts[7]]
    with build_corpus(iter(read), tmp_path, held_out=held_out, validation_share=0.1,
                      progress=advanced.append) as corpus:
        train, validation = list(corpus.documents("train")), list(corpus.documents("validation"))
        assert corpus.counts == {
            "read": 306, "empty": 2, "characters": sum(map(len, read)), "exact_duplicates": 2,
            "near_duplicates": 1, "contaminated": 3, "held_out": 3, "train": len(train),
            "validation": len(validation)}
        assert corpus.near_duplicates == [
            (held_out[1], texts[1]), (texts[5], near), (held_out[0], near_twice)]
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())
    assert 10 < len(validation) < 60
    assert sorted(train + validation) == sorted(texts[2:])
    assert [text for text in texts if text in set(train)] == train  # in reading order
    assert sum(advanced) == sum(map(len, read + held_out))


def test_the_split_follows_the_text_alone(tmp_path):
    source = random.Random(1)
    texts = [random_text(source) for _ in range(400)]
    splits = {}
    for part in (texts, texts[::-2], texts[100:]):
        with build_corpus(part, tmp_path, validation_share=0.2) as corpus:
            for split in ("train", "validation"):
                for text in corpus.documents(split):
                    assert splits.setdefault(text, split) == split
    in_validation = {text for text, split in splits.items() if split == "validation"}
    assert in_validation == {text for text in texts if exact_hash(fold(text)) < 0.2 * 2**64}
    assert 50 < len(in_validation) < 110


def test_a_sample_is_drawn_by_the_hashes(tmp_path):
    source = random.Random(3)
    texts = [random_text(source, 100) + "好" * (number % 2) * 50 for number in range(400)]  # by turns short and long
    with build_corpus(texts, tmp_path, validation_share=0) as corpus:
        sample = corpus.documents("train", most_bytes=20_000)
        sizes = [len(text.encode()) for text in sample]
        assert 20_000 <= sum(sizes) < 20_000 + max(sizes)
        assert [text for text in texts if text in set(sample)] == list(sample) and len(sample) == len(sizes)
        by_hash = sorted(texts, key=lambda text: exact_hash(fold(text)))
        assert set(sample) == set(by_hash[:len(sample)])
        assert 0.3 < sum(text in sample for text in texts[::2]) / len(sample) < 0.7  # short ones and long ones
        assert list(corpus.documents("train", most_bytes=1)) == by_hash[:1]
        assert list(corpus.documents("train", most_bytes=10**9)) == list(corpus.documents("train")) == texts


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_each_split_has_a_document(tmp_path, share):
    with build_corpus(["one text", "another text"], tmp_path, validation_share=share) as corpus:
        assert corpus.counts["train"] == corpus.counts["validation"] == 1
    with build_corpus(["one text"] * 3, tmp_path, validation_share=0.001) as corpus:
        assert (corpus.counts["train"], corpus.counts["validation"]) == (1, 0)
    with build_corpus(["one text", "another text"], tmp_path, validation_share=0) as corpus:
        assert (corpus.counts["train"], corpus.counts["validation"]) == (2, 0)


def test_short_texts_are_compared_for_equality_alone(tmp_path):
    texts = ["第12期开奖公告：今天的号码", "第13期开奖公告：今天的号码", "第13期开奖公告：今天的号码"]
    with build_corpus(texts, tmp_path) as corpus:
        assert corpus.counts["near_duplicates"] == 0 and corpus.counts["exact_duplicates"] == 1


def test_the_threshold_one_keeps_all_that_are_unequal(tmp_path):
    text = random_text(random.Random(2))
    with build_corpus([text, text + "x"], tmp_path, near_duplicates=1) as corpus:
        assert corpus.counts["near_duplicates"] == 0
    with build_corpus([text, text + "x"], tmp_path) as corpus:
        assert corpus.counts["near_duplicates"] == 1


def test_any_text_comes_back_as_it_went_in(tmp_path):
    texts = ['"quotes" \\ {"text": 1}', "two\nlines\u2028\x85three", "👩\u200d🚀 emoji", "x" * 3_000_000]
    with build_corpus(texts, tmp_path, validation_share=0) as corpus:
        assert list(corpus.documents("train")) == texts


def test_no_document_left_is_an_error_and_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="one document.* 3 texts, 1 of them empty, 2 of them held out"):
        build_corpus(["", "A text", "a text"], tmp_path, held_out=["a  text"])
    with pytest.raises(ZeroDivisionError):
        build_corpus((1 // 0 for _ in range(2)), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options, message", [
    ({"validation_share": 1}, "share must be"), ({"validation_share": -0.1}, "share must be"),
    ({"near_duplicates": 0.4}, "threshold"), ({"near_duplicates": 1.1}, "threshold")])
def test_options_out_of_range(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        build_corpus(["text"], tmp_path, **options)
