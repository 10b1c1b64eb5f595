"""A killed training ends with the weights of one that was never killed; what does not fit is refused in one line."""

import contextlib
import dataclasses
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

import app.__main__
from app.history import guesses
from app.prepare import prepare
from app.pretrain import pretrain
from data.masking import validation_examples
from data.prepared import load_prepared
from models import bert, health, heads
from models.config import TransformerConfig, from_dict
from models.run_folder import load_config
from models.trainer import Trainer

ROOT = Path(__file__).parents[1]
SHAPE = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "batch_size": 8}


def command(corpus, folder, steps=60, checkpoint_every=5):
    options = {**SHAPE, "to": folder, "steps": steps, "checkpoint_every": checkpoint_every}
    return ["pretrain", str(corpus), *(f"--{name.replace('_', '-')}={value}" for name, value in options.items())]


def start(*arguments):
    return subprocess.Popen([sys.executable, "-m", "app", *map(str, arguments)], cwd=ROOT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def send(process, number, folder, step, delay=0.0):
    """Sends a signal once the checkpoint of `step` or a later one is there."""
    deadline = time.monotonic() + 300
    while not any(int(path.stem[5:]) >= step for path in folder.glob("checkpoints/step-*.npz")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.001)
    time.sleep(delay)
    process.send_signal(number)
    return process.communicate(timeout=300)


def weights(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def assert_same_run(one, other):
    for name in ("backbone.weights.h5", "masked_lm.weights.h5"):
        first, second = weights(one / name), weights(other / name)
        assert first.keys() == second.keys() and first
        for key in first:
            np.testing.assert_array_equal(first[key], second[key], err_msg=f"{name} {key}")
    histories = [[{**json.loads(line), "seconds": None} for line in open(run / "history.jsonl", encoding="utf-8")]
                 for run in (one, other)]
    assert histories[0] == histories[1]


def test_what_is_saved_are_the_averages(prepared_corpus, tmp_path, monkeypatch):
    @contextlib.contextmanager
    def averaged(self):
        own = self.model.get_weights()
        self.model.set_weights([np.full_like(weight, 7) for weight in own])
        yield
        self.model.set_weights(own)

    monkeypatch.setattr(Trainer, "averaged", averaged)
    pretrain(prepared_corpus, to=tmp_path / "run", objective="clm", steps=2, **SHAPE)
    for name in ("backbone", "causal_lm"):
        assert all((weight == 7).all() for weight in weights(tmp_path / "run" / f"{name}.weights.h5").values())


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_weights(prepared_corpus, tmp_path):
    random = np.random.default_rng(1)
    through, killed = tmp_path / "through", tmp_path / "killed"
    steps = 200  # few milliseconds each
    process = start(*command(prepared_corpus, killed, steps))
    send(process, signal.SIGKILL, killed, random.integers(5, 70), random.uniform(0, 0.02))
    assert process.returncode == -signal.SIGKILL and not (killed / "config.json").exists()
    pretrain(prepared_corpus, to=through, steps=steps, **SHAPE)

    process = start(*command(prepared_corpus, killed, steps))
    output, errors = send(process, signal.SIGTERM, killed, random.integers(80, 140), random.uniform(0, 0.02))
    assert process.returncode == 130 and "going on at step" in output
    saved = int(errors.split("Saved at step ")[1].split(":")[0])
    assert errors == f"\nstopped. Saved at step {saved}: run the same command again to go on.\n"
    assert (killed / "checkpoints" / f"step-{saved:09d}.npz").exists()

    process = start(*command(prepared_corpus, killed, steps))
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0 and errors == "" and f"going on at step {saved}" in output
    assert_same_run(through, killed)
    losses = [json.loads(line)["validation_loss"] for line in open(through / "history.jsonl", encoding="utf-8")]
    assert losses[-1] < 0.8 * losses[0]  # and something was learned


@pytest.fixture(scope="module")
def through(prepared_corpus, tmp_path_factory):
    """Eight steps that nothing interrupts."""
    folder = tmp_path_factory.mktemp("runs") / "through"
    pretrain(prepared_corpus, to=folder, steps=8, **SHAPE)
    return folder


def test_ctrl_c_and_a_full_disk_save_and_the_same_call_goes_on(prepared_corpus, through, tmp_path, monkeypatch):
    run = tmp_path / "run"
    interrupt_after(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt, match="Saved at step 3: run the same command again to go on."):
        pretrain(prepared_corpus, to=run, steps=8, **SHAPE)
    monkeypatch.undo()
    monkeypatch.setattr("models.run_folder.save_config", raise_full)  # after the last step
    with pytest.raises(OSError, match="full"):
        pretrain(prepared_corpus, to=run, steps=8, checkpoint_every=3, **SHAPE)
    monkeypatch.undo()
    assert (run / "checkpoints" / "step-000000008.npz").exists()
    pretrain(prepared_corpus, to=run, steps=8, **SHAPE)
    assert_same_run(through, run)
    assert not (run / "checkpoints").exists()


def interrupt_after(step, monkeypatch):
    """Ctrl-C while step `step` runs."""
    def run(self, batches, budget, on_step, original=Trainer.run):
        def interrupted(loss, norm):
            if self.step == step:
                os.kill(os.getpid(), signal.SIGINT)
            return on_step(loss, norm)

        original(self, batches, budget, interrupted)

    monkeypatch.setattr(Trainer, "run", run)


def raise_full(*arguments, **named):
    raise OSError("the disk is full")


def test_a_damaged_checkpoint_is_said_and_the_one_before_is_used(prepared_corpus, through, tmp_path, monkeypatch,
                                                                 capsys):
    run = tmp_path / "run"
    interrupt_after(5, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        pretrain(prepared_corpus, to=run, steps=8, checkpoint_every=2, **SHAPE)
    monkeypatch.undo()
    newest = run / "checkpoints" / "step-000000005.npz"
    newest.write_bytes(newest.read_bytes()[:1000])
    pretrain(prepared_corpus, to=run, steps=8, checkpoint_every=2, **SHAPE)
    output = capsys.readouterr().out
    assert "checkpoint step-000000005.npz is damaged; the one before it is used" in output
    assert "going on at step 4" in output
    assert_same_run(through, run)


def test_a_run_folder_holds_what_loading_needs(pretrained_run, prepared_corpus):
    config = load_config(pretrained_run, "masked_lm")
    encoder = from_dict(TransformerConfig, config["model"])
    assert (encoder.num_layers, encoder.hidden_dim, encoder.sequence_length) == (2, 16, 32)
    model = heads.masked_lm(bert.backbone(encoder))
    model.load_weights(pretrained_run / "masked_lm.weights.h5")
    backbone = bert.backbone(encoder)
    backbone.load_weights(pretrained_run / "backbone.weights.h5")
    for one, other in zip(backbone.get_weights(), model.get_layer("backbone").get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    entries = [json.loads(line) for line in open(pretrained_run / "history.jsonl", encoding="utf-8")]
    assert [entry["step"] for entry in entries] == sorted({entry["step"] for entry in entries})
    last = entries[-1]
    assert last["step"] == 6 and last["tokens"] == 6 * 8 * 32
    assert last["perplexity"] == pytest.approx(math.exp(last["validation_loss"]))
    assert config["validation_loss"] == last["validation_loss"]
    assert (pretrained_run / "tokenizer.json").read_text() == (prepared_corpus / "tokenizer.json").read_text()
    assert list((pretrained_run / "tensorboard").iterdir())


def test_minutes_are_a_budget_that_counts_time_already_spent(prepared_corpus, tmp_path, monkeypatch):
    interrupt_after(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        pretrain(prepared_corpus, to=tmp_path / "run", minutes=60, **SHAPE)
    monkeypatch.undo()
    path = next((tmp_path / "run" / "checkpoints").glob("*.npz"))
    with np.load(path) as archive:
        arrays = {**archive, "seconds": np.array(3600 - 1e-3)}
    np.savez(path, **arrays)
    result = pretrain(prepared_corpus, to=tmp_path / "run", minutes=60, **SHAPE)
    assert result["step"] == 3 and result["seconds"] >= 3600


@pytest.fixture(scope="module")
def begun(prepared_corpus, tmp_path_factory):
    """A training that was stopped after its first step."""
    folder = tmp_path_factory.mktemp("runs") / "begun"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(1, patch)
        pretrain(prepared_corpus, to=folder, steps=60, **SHAPE)
    return folder


def one_line(capsys, *arguments):
    """Runs a command that must fail; returns the line on stderr."""
    capsys.readouterr()
    assert app.__main__.main(list(map(str, arguments))) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ") and errors.count("\n") == 1
    return errors


def test_folders_that_do_not_fit_are_refused(prepared_corpus, pretrained_run, begun, tmp_path, capsys):
    assert "holds a finished training" in one_line(capsys, *command(prepared_corpus, pretrained_run, 6))
    other = command(prepared_corpus, begun)
    assert "begun with other options (learning_rate)" in one_line(capsys, *other, "--learning-rate", "0.1")
    assert "begun with other options (budget)" in one_line(capsys, *command(prepared_corpus, begun, 61))
    assert "begun with other options (model)" in one_line(capsys, *other, "--intermediate-dim", "5")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all my work")
    assert "which holds other files" in one_line(capsys, *command(prepared_corpus, tmp_path / "mine"))
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "all my work"


def test_another_corpus_is_refused(begun, corpus_files, tmp_path, capsys):
    prepare(corpus_files[:1], to=tmp_path / "other", tokenizer=begun / "tokenizer.json", sequence_length=32)
    assert "begun with other options (corpus)" in one_line(capsys, *command(tmp_path / "other", begun))


@pytest.mark.parametrize(("arguments", "message"), [
    (["--steps", "5", "--minutes", "1"], "give either steps or a time"),
    (["--steps", "0"], "a budget must be above 0"),
    (["--minutes", "-1"], "a budget must be above 0"),
    (["--steps", "5", "--size", "huge"], "size must be one of tiny"),
    (["--steps", "5", "--hidden-dim", "15", "--num-heads", "2"], "hidden_dim must be an even multiple of num_heads"),
    (["--steps", "5", "--batch-size", "0"], "--batch-size must be at least 1"),
    (["--steps", "5", "--checkpoint-every", "0"], "--checkpoint-every must be at least 1"),
])
def test_impossible_options(prepared_corpus, tmp_path, capsys, arguments, message):
    assert message in one_line(capsys, "pretrain", prepared_corpus, "--to", tmp_path / "run", *arguments)
    assert not (tmp_path / "run").exists()


def test_dropout_belongs_to_the_model_and_must_be_a_share(prepared_corpus, tmp_path, capsys):
    pretrain(prepared_corpus, to=tmp_path / "run", steps=2, dropout=0.3, **SHAPE)
    assert load_config(tmp_path / "run", "masked_lm")["model"]["dropout"] == 0.3
    errors = one_line(capsys, *command(prepared_corpus, tmp_path / "other"), "--dropout", "1")
    assert "--dropout must be in [0, 1). Received: 1" in errors


def test_a_corpus_that_is_none(tmp_path, capsys):
    errors = one_line(capsys, *command(tmp_path / "nowhere", tmp_path / "run"))
    assert "a prepared corpus holds manifest.json" in errors and "fromzero prepare" in errors


@pytest.mark.parametrize(("file", "change", "message"), [
    ("manifest.json", lambda text: text[:-20], "must be a manifest of format 1"),
    ("manifest.json", lambda text: text.replace('"format": 1', '"format": 9'), "format 9"),
    ("tokenizer.json", lambda text: re.sub('("lower_case": ?)true', r"\1false", text), "It was changed"),
    ("train.rows", lambda text: text[:-7], "Run `prepare` again"),
])
def test_a_changed_corpus_is_refused(prepared_corpus, tmp_path, capsys, file, change, message):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for path in prepared_corpus.iterdir():
        (corpus / path.name).write_bytes(path.read_bytes())
    text = (corpus / file).read_text(encoding="latin-1")
    assert change(text) != text
    (corpus / file).write_text(change(text), encoding="latin-1")
    assert message in one_line(capsys, *command(corpus, tmp_path / "run"))


def test_a_rate_far_too_high_is_said(prepared_corpus, tmp_path, capsys):
    errors = one_line(capsys, *command(prepared_corpus, tmp_path / "run", 60), "--learning-rate", "1e30")
    assert "training must stay finite" in errors and "lower --learning-rate than 1e+30" in errors


def test_guesses_show_what_was_hidden(prepared_corpus):
    prepared = load_prepared(prepared_corpus)
    vocabulary = prepared.tokenizer.vocabulary
    batch = validation_examples(prepared.validation_rows[:2], len(vocabulary), 2)[0]

    def perfect(inputs, training):
        return np.eye(len(vocabulary))[batch["labels"]]

    lines = guesses(perfect, prepared.tokenizer, batch, tokens=100)
    assert len(lines) == 2 and "|" not in "".join(lines) and "[MASK]" not in "".join(lines) and "[" in lines[0]

    def never(inputs, training):
        return np.eye(len(vocabulary))[np.where(batch["labels"] == 20, 21, 20)]

    assert any(f"[{vocabulary[20]}|" in line for line in guesses(never, prepared.tokenizer, batch, tokens=100))


def test_the_resolved_options_are_saved(pretrained_run):
    options = json.loads((pretrained_run / "options.json").read_text())
    config = load_config(pretrained_run, "masked_lm")
    assert config["options"] == options and options["model"] == config["model"]
    assert set(options["model"]) == {field.name for field in dataclasses.fields(TransformerConfig)}


def test_health_checks():
    counts = np.array([0, 0, 5, 5, 10])
    assert health.unigram_entropy(counts) == pytest.approx(1.5 * math.log(2))
    assert health.unigram_entropy(np.ones(100)) == pytest.approx(math.log(100))
    assert health.first_loss_warning(math.log(300) * 1.05, 300) is None
    assert "ln V = 5.70" in health.first_loss_warning(1.15, 300)
    assert health.plateau_warning(4.0, 5.0) is None
    assert "not below the corpus's unigram entropy 5.00" in health.plateau_warning(4.99, 5.0)
    assert health.unknown_warning(0.01) is None and "2.0% of the corpus's tokens" in health.unknown_warning(0.02)
