"""Spans are hidden as often as they should be, nothing is lost, and an encoder–decoder learns to fill them in."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.__main__ import main
from app.history import fillings
from app.predict import predict
from app.pretrain import pretrain
from app.seq2seq import seq2seq
from app.writer import build_model, load_writer
from data.denoising import denoise_rows, noise_mask
from data.prepared import load_prepared
from data.tokenizer import CLS, MASK, PAD, SEP
from models.config import TransformerConfig, from_dict
from models.run_folder import load_config

SHAPE = {"num_layers": 1, "hidden_dim": 32, "num_heads": 2}


@given(st.integers(0, 300), st.integers(0, 1000))
def test_so_many_tokens_are_hidden_in_so_many_spans(length, seed):
    hidden = noise_mask(length, np.random.default_rng(seed))
    assert hidden.shape == (length,)
    if length < 2:
        assert not hidden.any()
        return
    count = hidden.sum()
    assert count == min(max(round(0.15 * length), 1), length - 1)
    begins = hidden & ~np.roll(hidden, 1)  # in a ring
    assert begins.sum() == min(max(round(count / 3), 1), length - count)


def test_every_place_is_hidden_alike():
    random = np.random.default_rng(0)
    share = np.mean([noise_mask(100, random) for _ in range(4000)], axis=0)
    assert share.mean() == pytest.approx(0.15)
    assert share.min() > 0.12 and share.max() < 0.18  # five standard deviations


def test_source_and_target_hold_the_row():
    random = np.random.default_rng(0)
    first, second, third = random.integers(5, 99, 20), random.integers(5, 99, 9), random.integers(5, 99, 1)
    row = np.concatenate([[CLS], first, [SEP, CLS], second, [SEP, CLS], third, [SEP], [PAD] * 5])
    batch = denoise_rows(np.stack([row, np.roll(row, 0)]), [3, 7])
    assert {name: array.dtype for name, array in batch.items()} == {
        "token_ids": np.int32, "segment_ids": np.int32, "target_ids": np.int32, "target_segment_ids": np.int32,
        "labels": np.int32, "sample_weight": np.float32}
    for source, numbers, inputs, of, labels, weight in zip(*batch.values()):
        np.testing.assert_array_equal(weight, of > 0)
        for number, text in enumerate((first, second, third), 1):
            shown, said, read = source[numbers == number], labels[of == number], inputs[of == number]
            assert shown[0] == CLS and shown[-1] == SEP
            if not len(said):  # nothing of it is hidden
                np.testing.assert_array_equal(shown[1:-1], text)
                continue
            assert read[0] == CLS and said[-1] == SEP and said[0] == MASK
            np.testing.assert_array_equal(read[1:], said[:-1])
            spans = iter(np.split(said[:-1], np.flatnonzero(said[:-1] == MASK)[1:]))
            filled = np.concatenate([next(spans)[1:] if token == MASK else [token] for token in shown[1:-1]])
            np.testing.assert_array_equal(filled, text)
            assert next(spans, None) is None
    again = denoise_rows(row[None], [3, 7])
    np.testing.assert_array_equal(again["token_ids"][0], batch["token_ids"][0][: again["token_ids"].shape[1]])
    assert not np.array_equal(batch["labels"][0], batch["labels"][1])  # each row has spans of its own


@pytest.fixture(scope="module")
def denoiser(prepared_corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "denoiser"
    first = pretrain(prepared_corpus, to=folder, objective="denoise", steps=150, batch_size=8, **SHAPE)
    assert first["validation_loss"] < 2.5  # of about 300 pieces: ln 300 = 5.7
    return folder


def test_it_learns_and_seq2seq_goes_on_from_it(denoiser, tmp_path):
    entries = [json.loads(line) for line in open(denoiser / "history.jsonl", encoding="utf-8")]
    assert entries[-1]["validation_loss"] < entries[0]["validation_loss"] - 0.5
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("text,target\n" + "".join(f"the film was wonderful {n},wonderful {n}\n" for n in "abcdefghij" * 2),
                     encoding="utf-8")
    options = {"data": str(pairs), "validation": str(pairs), "steps": 1, "learning_rate": 1e-9, "dropout": 0.0}
    with pytest.raises(ValueError, match="not measured by"):
        seq2seq(to=tmp_path / "none", backbone=denoiser, **options)
    other = tmp_path / "other.csv"
    other.write_text("text,target\nthis hotel is fine,fine\n", encoding="utf-8")
    seq2seq(to=tmp_path / "run", backbone=denoiser, **{**options, "validation": str(other)})
    writer = load_writer(tmp_path / "run")
    config = json.loads((denoiser / "config.json").read_text(encoding="utf-8"))
    assert writer.tokenizer.sha256 == json.loads((tmp_path / "run/options.json").read_text(encoding="utf-8"))["tokenizer"]
    pretrained = build_model(from_dict(TransformerConfig, config["model"]))
    pretrained.load_weights(denoiser / "denoiser.weights.h5")
    for one, other in zip(writer.model.get_weights(), pretrained.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert isinstance(predict(tmp_path / "run", "the film was wonderful")[0]["written"], str)


def test_fillings_show_what_was_hidden(denoiser, prepared_corpus):
    corpus = load_prepared(prepared_corpus)
    model = build_model(from_dict(TransformerConfig, load_config(denoiser, "denoiser")["model"]))
    batch = denoise_rows(corpus.validation_rows[:4], [0, 0])
    model.load_weights(denoiser / "denoiser.weights.h5")
    lines = fillings(model, corpus.tokenizer, batch, count=4, tokens=1000)
    for line, row in zip(lines, corpus.validation_rows[:4], strict=True):
        line = re.sub(r"\[(SEP|CLS|MASK|PAD|UNK)\]", "", line)  # such a guess
        truth = re.sub(r"\[([^|\]]*\|)?([^\]]*)\]", r"\2", line)
        ids = row[1 : np.argmax(row == SEP)]
        assert truth == corpus.tokenizer.decode(np.asarray(ids, np.int32)[None]).numpy()[0].decode()


def test_mistakes_are_one_line(denoiser, pretrained_run, tmp_path, capsys):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("text,target\na,b\n", encoding="utf-8")
    to = ["--to", str(tmp_path / "run")]
    for arguments, message in (
            (["seq2seq", "--data", str(pairs), "--backbone", str(denoiser), "--size", "tiny", *to], "brings its own shape"),
            (["seq2seq", "--data", str(pairs), "--backbone", str(pretrained_run), *to], "a pretrained encoder–decoder"),
            (["generate", str(denoiser), "x"], "seq2seq goes on from it")):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error and len(error.splitlines()) == 1
