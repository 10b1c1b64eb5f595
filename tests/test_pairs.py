"""Pairs of texts → batches: what is read and skipped, what a batch holds, every pair once an epoch."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from data.pairs import EncodedPairs, encode_pairs, read_pairs
from data.punctuation import full_width
from data.sources import SkippedRows
from data.tokenizer import CLS, SEP


def test_rows_without_one_side_are_skipped_and_columns_found(tmp_path):
    (tmp_path / "a.csv").write_text("en,translation\na film, ein Film\n,leer\nempty,\n", encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"text": "two", "target": "zwei"}\n', encoding="utf-8")
    skipped = SkippedRows(10)
    assert read_pairs([str(tmp_path / "a.csv")], skipped, text_column="en") == (["a film"], ["ein Film"])
    assert skipped.counts == {"no text": 1, "no target": 1}
    assert read_pairs([str(tmp_path / "b.jsonl")], skipped) == (["two"], ["zwei"])
    with pytest.raises(ValueError, match="a.csv.*column de for the target.*en, translation"):
        read_pairs([str(tmp_path / "a.csv")], skipped, text_column="en", target_column="de")
    (tmp_path / "same.csv").write_text("headline,abstract\na,b\n", encoding="utf-8")
    with pytest.raises(ValueError, match="must be two columns. Received: headline for both, of headline, abstract"):
        read_pairs([str(tmp_path / "same.csv")], skipped)
    (tmp_path / "c.csv").write_text("text,target\nalone,\n", encoding="utf-8")
    with pytest.raises(ValueError, match="at least one row with both"):
        read_pairs([str(tmp_path / "c.csv")], skipped)


def test_a_batch_holds_sources_and_what_stands_before_each_label():
    sources = [np.array([CLS, 7, 8, SEP]), np.array([CLS, SEP])]
    targets = [np.array([CLS, 9, SEP]), np.array([CLS, 5, 6, SEP])]
    batch = EncodedPairs(sources, targets, target_length=9).batch([0, 1])
    expected = {"token_ids": [[CLS, 7, 8, SEP], [CLS, SEP, 0, 0]], "segment_ids": [[1, 1, 1, 1], [1, 1, 0, 0]],
                "target_ids": [[CLS, 9, 0], [CLS, 5, 6]], "target_segment_ids": [[1, 1, 0], [1, 1, 1]],
                "labels": [[9, SEP, 0], [5, 6, SEP]], "sample_weight": [[1, 1, 0], [1, 1, 1]]}
    assert batch.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(batch[name], values)
    # The second may have been cut: that it ends there says nothing.
    cut = EncodedPairs(sources, targets, target_length=4).batch([0, 1])
    np.testing.assert_array_equal(cut["sample_weight"], [[1, 1, 0], [1, 1, 0]])
    assert all((cut[name] == batch[name]).all() for name in batch if name != "sample_weight")


def test_an_epoch_holds_every_pair_once_and_batches_few_tokens():
    random = np.random.default_rng(0)
    sources, targets = ([np.full(length, number + 5) for number, length in enumerate(random.integers(2, 40, 300))]
                        for _ in range(2))
    pairs = EncodedPairs(sources, targets, 40)
    count = len(list(pairs.in_order_of_length(400)))
    endless, drawn = pairs.endless(400, seed=1), []
    while sum(len(batch["token_ids"]) for batch in drawn) < 300:
        drawn.append(next(endless))
    for batches in (drawn, list(pairs.in_order_of_length(400))):
        seen = [row[0] for batch in batches for row in batch["token_ids"]]
        assert sorted(seen) == list(range(5, 305))
        assert all((batch["token_ids"][:, 0] == batch["target_ids"][:, 0]).all() for batch in batches)  # its own target
        assert all(batch["token_ids"].size <= 400 and batch["target_ids"].size <= 400 for batch in batches)
        real = sum(batch["sample_weight"].sum() for batch in batches)
        assert real / sum(batch["target_ids"].size for batch in batches) > 0.8
    first, again, other = (list(itertools.islice(pairs.endless(400, seed), 3)) for seed in (1, 1, 2))
    assert all((a["token_ids"] == b["token_ids"]).all() for a, b in zip(first, again))
    many = list(itertools.islice(pairs.endless(400, 1), 3 * count))
    for step in (1, count, 2 * count + 3):
        np.testing.assert_array_equal(next(pairs.endless(400, 1, step))["token_ids"], many[step]["token_ids"])
    assert any(a["token_ids"].shape != b["token_ids"].shape or (a["token_ids"] != b["token_ids"]).any()
               for a, b in zip(first, other))


def test_pairs_are_encoded_and_cut(tokenizer):
    texts, done = ["the film was wonderful", "这部电影非常好", "x" * 100], []
    pairs = encode_pairs(tokenizer, texts, texts[::-1], 12, 6, done.append)
    assert sum(done) == 3 and max(map(len, pairs.sources)) == 12 and max(map(len, pairs.targets)) == 6
    assert pairs.target_length == 6
    assert all(row[0] == CLS and row[-1] == SEP for row in [*pairs.sources, *pairs.targets])
    assert tokenizer.decode(tf.ragged.constant([pairs.sources[1]])).numpy()[0].decode() == texts[1]


def test_chinese_gets_the_marks_that_it_is_printed_with():
    texts = ["这是真的吗?我想是的,对!", "At 17:30, (really)?", "他说:OK, 好;(一)、(b)", ""]
    assert [text.decode() for text in full_width(tf.constant(texts)).numpy()] == [
        "这是真的吗？我想是的，对！", "At 17:30, (really)?", "他说：OK, 好；(一)、(b)", ""]
