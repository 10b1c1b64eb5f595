"""Packed rows give the documents back, whole and in pieces, and nothing else."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from data import packing
from data.packing import OPEN_ROWS, RowWriter, open_rows, pack_documents, row_dtype, segment_ids
from data.tokenizer import CLS, PAD, SEP

FIRST = 5  # the first id that is no special token


def packed(documents, path, sequence_length=16, vocabulary_size=1000):
    writer = RowWriter(path, sequence_length, vocabulary_size)
    for ids in documents:
        writer.add(ids)
    writer.close()
    return open_rows(path, sequence_length, vocabulary_size, writer.num_rows), writer


def segments_of(rows):
    """The segments of each row, [CLS] and [SEP] taken off; padding only at the end."""
    segments = []
    for row in rows.tolist():
        end = row.index(PAD) if PAD in row else len(row)
        assert all(token == PAD for token in row[end:])
        starts = [place for place, token in enumerate(row[:end]) if token == CLS]
        assert starts[0] == 0
        for start, stop in zip(starts, [*starts[1:], end]):
            assert row[stop - 1] == SEP and row[start:stop].count(SEP) == 1
            segments.append(tuple(row[start + 1 : stop - 1]))
    return segments


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(0, 40), max_size=200), sequence_length=st.integers(4, 20))
def test_unpacking_gives_the_documents_back(lengths, sequence_length):
    numbers = iter(range(FIRST, 10**6))
    documents = [[next(numbers) for _ in range(length)] for length in lengths]
    with tempfile.TemporaryDirectory() as folder:
        writer = RowWriter(Path(folder) / "rows", sequence_length, 10**6)
        for ids in documents:
            writer.add(ids)
        writer.close()
        if not any(lengths):
            assert writer.num_rows == 0
            return
        rows = open_rows(Path(folder) / "rows", sequence_length, 10**6, writer.num_rows)
        room = sequence_length - 2
        pieces = [tuple(ids[start : start + room]) for ids in documents for start in range(0, len(ids), room)]
        assert sorted(segments_of(rows)) == sorted(pieces)


def test_little_is_padding(tmp_path):
    random = np.random.default_rng(0)
    documents = [[FIRST] * int(length) for length in random.integers(3, 60, 2000)]
    rows, _ = packed(documents, tmp_path / "rows", 64)
    assert np.mean(rows == PAD) < 0.04
    one_a_row = np.mean([64 - len(ids) - 2 for ids in documents]) / 64
    assert one_a_row > 0.4


def test_memory_stays_constant(tmp_path):
    writer = RowWriter(tmp_path / "rows", 100, 1000)
    for _ in range(10 * OPEN_ROWS):
        writer.add([FIRST] * 60)  # two of them never fit into one row
        assert writer.num_unfinished <= OPEN_ROWS
    writer.close()
    assert writer.num_rows == 10 * OPEN_ROWS


@pytest.mark.parametrize(("vocabulary_size", "largest", "size"), [(65536, 65535, 2), (65537, 65536, 4)])
def test_ids_are_stored_in_as_few_bytes_as_hold_them(tmp_path, vocabulary_size, largest, size):
    assert row_dtype(vocabulary_size).itemsize == size
    rows, _ = packed([[largest]], tmp_path / "rows", 8, vocabulary_size)
    assert rows[0].tolist() == [CLS, largest, SEP, 0, 0, 0, 0, 0]
    assert (tmp_path / "rows").stat().st_size == 8 * size


def test_a_truncated_file_is_an_error(tmp_path):
    path = tmp_path / "rows"
    _, writer = packed([[FIRST] * 30], path)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ValueError, match="must hold 3 rows of 16 ids .96 bytes.* 94 bytes"):
        open_rows(path, 16, 1000, writer.num_rows)


def test_segment_ids():
    rows = tf.constant([[CLS, 7, SEP, CLS, 8, 9, SEP, PAD], [CLS, 7, 7, 7, 7, 7, 7, SEP], [PAD] * 8])
    found = segment_ids(rows)
    assert found.dtype == tf.int32
    assert found.numpy().tolist() == [[1, 1, 1, 2, 2, 2, 2, 0], [1] * 8, [0] * 8]


def test_a_row_may_begin_inside_a_document():
    rows = tf.constant([[7, 8, SEP, CLS, 9, SEP, PAD]])
    assert segment_ids(rows).numpy().tolist() == [[1, 1, 1, 2, 2, 2, 0]]


def test_documents_are_encoded_packed_and_counted(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(packing, "BATCH_CHARACTERS", 10_000)
    texts = ["a wonderful film", "", "质量很好", "the film " * 50] * 100
    done = []
    num_rows, counts = pack_documents(texts, tokenizer, tmp_path / "rows", 32, done.append)
    rows = open_rows(tmp_path / "rows", 32, tokenizer.vocabulary_size, num_rows)
    assert sum(done) == len(texts) and len(done) > 1
    encoded = tokenizer.encode(tf.constant(texts)).to_list()
    expected = [tuple(ids[start : start + 30]) for ids in encoded for start in range(0, len(ids), 30)]
    assert sorted(segments_of(rows)) == sorted(expected)
    np.testing.assert_array_equal(counts, np.bincount(sum(encoded, []), minlength=tokenizer.vocabulary_size))
    assert counts[[CLS, SEP, PAD]].sum() == 0


def test_a_corpus_without_a_token_is_refused(tmp_path, tokenizer):
    for nothing in ([], [""], ["\u200b\u200b"]):
        with pytest.raises(ValueError, match="Received: not one token for train.rows"):
            pack_documents(nothing, tokenizer, tmp_path / "train.rows", 32)
