"""A committee weighs its members, teaches them with what it is surest of, and is one model to all commands."""

import csv

import numpy as np
import pytest
import tensorflow as tf

import app.__main__
import app.committee
from app.classifier import load_classifier
from app.committee import LARGEST_CLASS, _folds, surest
from app.export import export
from app.finetune import finetune
from models import heads
from models.baseline import BaselineConfig, baseline
from models.calibration import stacked_weights
from models.run_folder import load_config


def test_the_surest_of_each_class_are_chosen():
    probabilities = np.array([[.9, .1], [.6, .4], [.8, .2], [.7, .3], [.45, .55], [.2, .8]])
    labels, chosen = surest(np.log(probabilities), 0.5)
    assert labels.tolist() == [0, 0, 0, 0, 1, 1]
    assert chosen.tolist() == [0, 2, 5]
    crowded = np.log(np.stack([np.linspace(0.9, 0.6, 100), np.linspace(0.1, 0.4, 100)], axis=1))
    assert surest(crowded, 1.0)[1].tolist() == list(range(int(LARGEST_CLASS * 50)))  # one class cannot take all


def test_every_fold_has_every_class():
    labels = np.array([0] * 7 + [1] * 3 + [2] * 5)
    folds = _folds(labels, 0)
    assert all(np.bincount(labels[folds == fold], minlength=3).min() >= 1 for fold in range(3))
    assert _folds(labels[3:], 0).max() == 2 and _folds(np.array([0, 1, 0, 1]), 0).max() == 1
    with pytest.raises(ValueError, match="two labelled texts of each class"):
        _folds(np.array([0, 1, 1]), 0)


def test_weights_are_the_most_likely_ones():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 400)
    signal = 2.0 * np.eye(3)[labels] + random.normal(size=(400, 3))
    votes = np.stack([signal, 3 * signal + random.normal(size=(400, 3)), random.normal(size=(400, 3))])
    votes -= np.log(np.exp(votes).sum(axis=2, keepdims=True))
    weights = stacked_weights(votes, labels)

    def loss(weights):
        summed = np.tensordot(weights, votes, 1)
        return (np.log(np.exp(summed).sum(axis=1)) - summed[np.arange(400), labels]).mean()

    steps = np.arange(0, 2.01, 0.1)
    assert loss(weights) <= min(loss([a, b, c]) for a in steps for b in steps for c in (0, 0.1, 0.3)) + 1e-6
    assert weights.dtype == np.float32 and weights[2] < 0.15 and (weights >= 0).all()
    once, overconfident = (stacked_weights(scale * votes[:1], labels) for scale in (1, 20))
    np.testing.assert_allclose(20 * overconfident, once, rtol=0.01)  # overconfidence is taken back


def test_logits_are_weighted_log_probabilities():
    tf.random.set_seed(0)
    members = [baseline(BaselineConfig(20, 3, 4)) for _ in range(2)]
    random = np.random.default_rng(0)
    for member in members:
        member.set_weights([random.normal(size=weight.shape) for weight in member.get_weights()])
    committee = heads.committee(members)
    committee.get_layer("votes").set_weights([np.array([0.5, 2.0])])
    batch = {"token_ids": tf.constant([[5, 6, 7], [8, 9, 0]]), "segment_ids": tf.constant([[1, 1, 1], [1, 1, 0]])}
    wanted = sum(weight * tf.nn.log_softmax(member(batch)) for weight, member in zip((0.5, 2.0), members))
    np.testing.assert_allclose(committee(batch), wanted, atol=1e-5)


@pytest.fixture
def few_and_many(sentences, tmp_path):
    """Forty labelled rows; a file of the other texts, whose column of labels is wrong."""
    files = []
    for name, rows in (("few", sentences[:40]), ("many", [(text, "neither") for text, _ in sentences[40:200]])):
        files.append(tmp_path / f"{name}.csv")
        with open(files[-1], "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
    return map(str, files)


@pytest.mark.slow
def test_a_committee_learns_from_few_labels(few_and_many, pretrained_run, sentences, tmp_path, capsys, monkeypatch):
    few, many = few_and_many
    monkeypatch.setattr(app.committee, "FOLDS", 2)  # each trains all members
    finetune(data=(few,), unlabelled=(many,), validation_share=0, model="committee", task="sentiment", rounds=1,
             backbone=str(pretrained_run), to=tmp_path / "run", sequence_length=32, num_epochs=1, minimum_steps=30,
             batch_size=16, learning_rate=0.02)
    assert "of 160 unlabelled texts join the training" in capsys.readouterr().out.replace("\n", " ")
    assert load_config(tmp_path / "run", "classifier")["label_names"] == ["negative", "positive"]
    classifier = load_classifier(tmp_path / "run")
    members = [layer for layer in classifier.model.layers if layer.name.startswith("member_")]
    assert len(members) == 3  # the encoder, the bag, the document vectors
    texts, labels = zip(*sentences[200:])
    probabilities = classifier.probabilities(texts)
    accuracy = np.mean((probabilities[:, 1] > 0.5) == (np.array(labels) == "pos"))
    assert accuracy > 0.8
    assert export(tmp_path / "run", to=tmp_path / "export" / "1")  # verified inside against these probabilities


def test_validation_weighs_the_votes(labelled_csv, saved_tokenizer, tmp_path):
    result = finetune(data=(str(labelled_csv),), model="committee", tokenizer=saved_tokenizer, to=tmp_path / "run",
                      sequence_length=32, num_epochs=2, minimum_steps=1, batch_size=16, learning_rate=0.02)
    families = [member["family"] for member in load_config(tmp_path / "run", "classifier")["model"]["members"]]
    assert families == ["bert", "baseline", "linear"]
    votes = load_classifier(tmp_path / "run").model.get_layer("votes").get_weights()[0]
    assert votes.shape == (3,) and (votes >= 0).all() and not np.allclose(votes, 1)
    assert result["validation_accuracy"] > 0.8
    for name in ("export/1", "run.tflite"):  # verified inside
        assert export(tmp_path / "run", to=tmp_path / name, int8=True)


def test_options_of_a_committee(few_and_many, tmp_path, capsys):
    few, many = few_and_many
    belongs = "--unlabelled belongs to --model committee and --adapt-minutes, of single texts"
    for arguments, message in ((("--unlabelled", many), belongs),
                               (("--model", "committee", "--rounds", 3), "--rounds must be 0, 1 or 2. Received: 3")):
        assert app.__main__.main(["finetune", "--data", few, "--to", str(tmp_path / "run"), *map(str, arguments)]) == 2
        assert message in capsys.readouterr().err
