"""A GPT pretrained on a few sentences goes on with them, streams what it would give at once, and says what it cannot do."""

import json

import numpy as np
import pytest
import tensorflow as tf

from app.__main__ import main
from app.export import export
from app.generate import generate
from app.generator import load_generator
from app.history import continuations
from data.causal import next_tokens
from data.tokenizer import CLS, SEP
from models.generation import Sampling
from tests.conftest import BY_HEART

TEXTS = BY_HEART


def test_labels_are_the_tokens_that_follow_in_the_same_document():
    rows = np.array([[CLS, 7, 8, SEP, CLS, 9, SEP, 0], [CLS, 5, 6, 7, 8, 9, 10, SEP], [CLS, 5, SEP, CLS, 6, 7, 8, SEP]],
                    np.int32)
    batch = {name: value.numpy() for name, value in next_tokens(tf.constant(rows)).items()}
    np.testing.assert_array_equal(batch["labels"], [[7, 8, SEP, 0, 9, SEP, 0, 0], [5, 6, 7, 8, 9, 10, 0, 0],
                                                    [5, SEP, 0, 6, 7, 8, SEP, 0]])
    np.testing.assert_array_equal(batch["sample_weight"], batch["labels"] > 0)
    np.testing.assert_array_equal(batch["token_ids"], rows)
    np.testing.assert_array_equal(batch["segment_ids"][0], [1, 1, 1, 1, 2, 2, 2, 0])


def test_it_goes_on_with_what_it_has_learned(gpt_run, capsys):
    texts = generate(gpt_run, ("The film", "这部"), temperature=0)
    assert texts == [TEXTS[0], TEXTS[2]]
    assert capsys.readouterr().out.splitlines() == texts
    assert generate(gpt_run, "this hotel", num_beams=3) == [TEXTS[1]]
    cut = generate(gpt_run, "my new", tokens=4, temperature=0)[0]
    assert len("my new") < len(cut) < len(TEXTS[3]) and TEXTS[3].startswith(cut)


def test_what_a_training_shows_follows_its_weights(gpt_run):
    generator = load_generator(gpt_run)
    batch = {"token_ids": generator.beginning(tf.constant(TEXTS[:1]))}
    (line,) = continuations(generator.model, generator.tokenizer, batch, beginning=6, tokens=40)
    assert "".join(line.replace("…", "").split()) == "".join(TEXTS[0].split())
    generator.model.set_weights([0 * weight for weight in generator.model.get_weights()])
    assert continuations(generator.model, generator.tokenizer, batch, beginning=6, tokens=40) != [line]


def test_a_seed_decides_and_every_text_of_a_count_has_its_own(gpt_run):
    texts = generate(gpt_run, count=8, temperature=1.5, seed=3)
    assert texts == generate(gpt_run, count=8, temperature=1.5, seed=3)
    assert len(set(texts)) > 1
    assert texts[5:7] == generate(gpt_run, count=2, temperature=1.5, seed=8)


def test_prompts_of_every_length(gpt_run):
    generator = load_generator(gpt_run)
    alone = [generator.beginning(tf.constant([text])).numpy()[0] for text in ("", "this hotel", "the film " * 100)]
    assert alone[0].tolist() == [CLS] and len(alone[2]) == 64 and CLS not in alone[2]
    together = generator.beginning(tf.constant(["", "this hotel", "the film " * 100])).numpy()
    for row, expected in zip(together, alone):
        np.testing.assert_array_equal(row, [0] * (64 - len(expected)) + expected.tolist())
    pieces = list(generator.stream("the film " * 100, 70, Sampling(), 0))  # past the length it was trained on
    assert len("".join(pieces)) > len(pieces[0])


def test_an_export_has_int8_weights(gpt_run, tmp_path):
    assert export(gpt_run, to=tmp_path / "1", tokens=9, int8=True)  # verified inside against the rounded run


def test_an_export_writes_what_generate_writes(gpt_run, tmp_path):
    operations = export(gpt_run, to=tmp_path / "1", tokens=40, temperature=1.5, repetition_penalty=1.1)
    assert "StatelessWhile" in operations and not any(name.startswith("Xla") for name in operations)
    signatures = tf.saved_model.load(str(tmp_path / "1")).signatures
    prompts, seeds = ["", "this hotel", "这部", "the film " * 100], [5, 5, 7, 0]
    given = {"prompt": tf.constant(prompts), "seed": tf.constant(seeds)}
    in_one = [text.decode() for text in signatures["seeded"](**given)["text"].numpy()]
    for some in (slice(0, 4), slice(1, 2)):
        texts = signatures["seeded"](prompt=tf.constant(prompts[some]), seed=tf.constant(seeds[some]))["text"].numpy()
        assert [text.decode() for text in texts] == [
            generate(gpt_run, prompt, seed=seed, tokens=40, temperature=1.5, repetition_penalty=1.1)[0]
            for prompt, seed in zip(prompts[some], seeds[some])]
    assert signatures["seeded"](prompt=tf.constant([], tf.string), seed=tf.constant([], tf.int32))["text"].shape == (0,)
    # In pieces, all rows together: some end before others.
    written, texts = np.zeros((4, 0), np.int32), [set() for _ in prompts]
    while written.shape[1] <= 40:
        found = signatures["continued"](**given, token_ids=written)
        for text, seen in zip(found["text"].numpy(), texts):
            seen.add(text.decode())
        written = np.concatenate([written, found["next_token_ids"]], axis=1)
    assert [max(seen, key=len) for seen in texts] == in_one
    assert all(whole.startswith(text) for whole, seen in zip(in_one, texts) for text in seen)
    assert written.shape == (4, 44) and not written[:, 40:].any()
    assert len({np.count_nonzero(row) for row in written}) > 1 and all(len(seen) > 1 for seen in texts)
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 40 columns"):
        signatures["continued"](**given, token_ids=written)
    many = signatures["serving_default"](prompt=tf.constant([""] * 16))["text"].numpy()
    again = signatures["serving_default"](prompt=tf.constant([""] * 16))["text"].numpy()
    assert len(set(many)) > 1 and many.tolist() != again.tolist()
    about = json.loads((tmp_path / "1" / "assets.extra" / "fromzero.json").read_text(encoding="utf-8"))
    assert about["task"] == "generate" and about["tokens"] == 40 and about["top_p"] == 0.95


def test_mistakes_are_one_line(gpt_run, classifier_run, pretrained_run, labelled_csv, tmp_path, capsys):
    for arguments, rule in (([gpt_run, "a", "--temperature", "-1"], "temperature must be 0 or more"),
                            ([gpt_run, "a", "--tokens", "0"], "--tokens must be at least 1"),
                            ([gpt_run, "a", "--num-beams", "2", "--count", "2"], "one text for each beginning"),
                            ([gpt_run, "a", "--num-beams", "2", "--top-k", "5"], "draws nothing: leave out --stop"),
                            ([gpt_run, "a", "--length-penalty", "2"], "are of the search of --num-beams"),
                            ([pretrained_run, "a"], "a run to take here is a GPT")):
        assert main(["generate", *map(str, arguments)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and rule in error
    for arguments, rule in (([classifier_run, "--top-k", "5"], "--top-k is for a GPT"),
                            ([classifier_run, "--temperature", "0"], "--temperature is for a GPT"),
                            ([gpt_run, "--tokens", "0"], "--tokens must be at least 1"),
                            ([gpt_run, "--top-p", "2"], "top_p must be above 0 and at most 1"),
                            ([pretrained_run], "a pretrained encoder: finetune makes a classifier of it")):
        assert main(["export", *map(str, arguments), "--to", str(tmp_path / "export")]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and rule in error
        assert not (tmp_path / "export").exists()
    assert main(["finetune", "--data", str(labelled_csv), "--backbone", str(gpt_run), "--to", str(tmp_path / "run")]) == 2
    assert "must be a masked_lm run" in capsys.readouterr().err
