"""How well a GPT foretells text: windows, and the loss against a model that reads token by token."""

import json

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax

from app.__main__ import main
from app.evaluate import evaluate
from app.generator import load_generator
from app.perplexity import perplexity, windows
from data.tokenizer import CLS, SEP, UNK
from tests.conftest import BY_HEART


@pytest.mark.parametrize("length", [2, 5, 8])
def test_windows_count_every_token_once(length):
    for n in range(30):
        token_ids = np.arange(10, 10 + n)
        counted = []
        for number, (inputs, labels, counts) in enumerate(windows(token_ids, length)):
            assert inputs[0] == CLS and len(inputs) == len(labels) == len(counts) <= length
            np.testing.assert_array_equal(inputs[1:], labels[:-1])
            if number:  # half a row stands before it
                assert np.flatnonzero(counts)[0] >= length // 2
            counted += labels[counts].tolist()
        assert counted == [*token_ids, SEP]


def nats(generator, text):
    """Token by token with the cache, in float64."""
    token_ids = generator.tokenizer.encode(tf.constant([text])).flat_values.numpy()
    logits, state = generator.decoder.start(np.array([[CLS]], np.int32), len(token_ids))
    total = 0.0
    for token in [*token_ids, SEP]:
        total -= log_softmax(logits.numpy()[0].astype(np.float64))[token]
        logits, state = generator.decoder.step(state, tf.constant([token])) if token != SEP else (None, None)
    return total


def test_it_is_the_loss_of_reading_token_by_token(gpt_run):
    generator = load_generator(gpt_run)
    texts = [*BY_HEART, "a hotel broke", "", "🙂 film"]
    found = perplexity(generator, texts)
    lengths = [len(generator.tokenizer.encode(tf.constant([text])).flat_values) for text in texts if text]
    total = sum(nats(generator, text) for text in texts if text)
    assert found["n_examples"] == 6 and found["tokens"] == sum(lengths) + 6
    assert found["words"] == sum(len(text.split()) for text in texts) + 6
    assert found["characters"] == sum(map(len, texts)) + 6
    assert found["loss"] == pytest.approx(total / found["tokens"], rel=1e-4)
    assert found["perplexity"] == pytest.approx(np.exp(total / found["tokens"]), rel=1e-4)
    assert found["word_perplexity"] == pytest.approx(np.exp(total / found["words"]), rel=1e-3)
    assert found["bits_per_character"] == pytest.approx(total / found["characters"] / np.log(2), rel=1e-4)
    unknown = generator.tokenizer.encode(tf.constant(texts)).flat_values.numpy() == UNK
    assert found["unknown"] == unknown.sum() == 1
    assert perplexity(generator, BY_HEART)["perplexity"] < 1.5 < perplexity(generator, ["a hotel broke"])["perplexity"]


def test_many_texts_and_long_ones_fill_batches(gpt_run):
    generator = load_generator(gpt_run)
    once = perplexity(generator, BY_HEART)
    many = perplexity(generator, BY_HEART * 10)
    assert many["n_examples"] == 40 and many["loss"] == pytest.approx(once["loss"], rel=1e-5)
    long = "the film was wonderful and we laughed " * 20
    measured = perplexity(generator, [long])
    token_ids = generator.tokenizer.encode(tf.constant([long])).flat_values.numpy()
    assert measured["tokens"] == len(token_ids) + 1 > 3 * generator.sequence_length
    total = 0.0
    for inputs, labels, counts in windows(token_ids, generator.sequence_length):
        logits, state = generator.decoder.start(inputs[None, :1], len(inputs))
        for place, label in enumerate(labels):
            if counts[place]:
                total -= log_softmax(logits.numpy()[0].astype(np.float64))[label]
            if place + 1 < len(inputs):
                logits, state = generator.decoder.step(state, tf.constant(inputs[place + 1 : place + 2]))
    assert measured["loss"] == pytest.approx(total / measured["tokens"], rel=1e-4)


def test_evaluate_measures_a_gpt(gpt_run, classifier_run, labelled_csv, tmp_path, capsys):
    text = tmp_path / "held.txt"
    text.write_text("\n".join(BY_HEART), encoding="utf-8")
    lines = evaluate(gpt_run, data=str(text))
    assert lines["loss"] == pytest.approx(perplexity(load_generator(gpt_run), BY_HEART)["loss"], rel=1e-5)
    whole = evaluate(gpt_run, data=str(text), whole_files=True, report=tmp_path / "whole")
    assert (lines["n_examples"], whole["n_examples"]) == (4, 1)
    assert json.loads((tmp_path / "whole.json").read_text(encoding="utf-8")) == whole
    assert "perplexity" in capsys.readouterr().out
    (tmp_path / "empty.txt").write_text("\n\n", encoding="utf-8")
    for arguments, rule in (([gpt_run, "--data", text, "--label-column", "label"], "--label-column is for a classifier"),
                            ([gpt_run, "--data", text, "--num-beams", "2"], "--num-beams is for an encoder–decoder"),
                            ([gpt_run, "--data", tmp_path / "empty.txt"], "must be text to measure by"),
                            ([classifier_run, "--data", labelled_csv, "--whole-files"], "--whole-files is for a GPT")):
        assert main(["evaluate", *map(str, arguments)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and rule in error
