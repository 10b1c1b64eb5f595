"""A backbone used to a task's texts: what it learns, and how finetune takes it."""

import signal

import keras
import pytest

from app.adaptation import adapt
from app.finetune import finetune
from app.objectives import build_trainer
from data.masking import validation_examples
from data.packing import open_rows
from data.tokenizer import Tokenizer
from models.config import TransformerConfig, from_dict
from models.run_folder import load_config
from models.trainer import Budget


def test_the_adapted_encoder_knows_the_texts_better(pretrained_run, sentences, tmp_path):
    texts = [" ".join(reversed(text.split())) for text, _ in sentences]  # an order of words it has not seen
    adapt(str(pretrained_run), texts, Tokenizer.load(pretrained_run / "tokenizer.json"), Budget(steps=40), tmp_path, 0,
          lambda: False)
    config = from_dict(TransformerConfig, load_config(pretrained_run, "masked_lm")["model"])
    size = (tmp_path / "train.rows").stat().st_size
    rows = open_rows(tmp_path / "train.rows", config.sequence_length, config.vocabulary_size,
                     size // (2 * config.sequence_length))
    examples = validation_examples(rows, config.vocabulary_size, 64)
    backbone, trainer = build_trainer(config, 0.01, 0)
    trainer.model.load_weights(pretrained_run / "masked_lm.weights.h5")
    before = trainer.evaluate(examples)["loss"]
    backbone.load_weights(tmp_path / "backbone.weights.h5")
    assert trainer.evaluate(examples)["loss"] < before - 0.05


def test_a_stop_before_any_label_saves_nothing(pretrained_run, labelled_csv, tmp_path, monkeypatch):
    monkeypatch.setattr("app.adaptation.adapt", lambda *arguments: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt, match="Nothing is saved"):
        finetune(data=(str(labelled_csv),), backbone=str(pretrained_run), adapt_minutes=1, to=tmp_path / "run",
                 sequence_length=32)
    assert not (tmp_path / "run").exists()


def test_an_adaptation_that_is_not_finite_is_an_error(pretrained_run, sentences, tmp_path, monkeypatch):
    monkeypatch.setattr("app.adaptation.LEARNING_RATE", float("inf"))
    with pytest.raises(ValueError, match="--adapt-minutes must stay finite on these texts. Received: loss nan"):
        adapt(str(pretrained_run), [text for text, _ in sentences], Tokenizer.load(pretrained_run / "tokenizer.json"),
              Budget(steps=5), tmp_path, 0, lambda: False)


def test_finetune_starts_from_the_adapted_encoder(pretrained_run, labelled_csv, sentences, tmp_path, monkeypatch, once):
    unlabelled = tmp_path / "more.txt"
    unlabelled.write_text("\n".join(text for text, _ in sentences[:50]), encoding="utf-8")
    loaded = []
    load = keras.Model.load_weights
    monkeypatch.setattr(keras.Model, "load_weights", lambda self, path: loaded.append(str(path)) or load(self, path))
    finetune(data=(str(labelled_csv),), backbone=str(pretrained_run), adapt_minutes=0.01, unlabelled=(str(unlabelled),),
             to=tmp_path / "run", sequence_length=32, num_epochs=1, minimum_steps=1)
    assert loaded[0] == str(pretrained_run / "masked_lm.weights.h5")
    assert loaded[1].endswith("/backbone.weights.h5") and str(pretrained_run) not in loaded[1]
    assert load_config(tmp_path / "run", "classifier")["adapt_minutes"] == 0.01
