"""Fine-tuning starts from the pretrained weights, keeps the best ones and says what cannot be learned from."""

import csv
import itertools
import json
import os
import signal

import numpy as np
import pytest

import app.__main__
from app.classifier import load_classifier
from app.finetune import finetune
from models import bert
from models.baseline import BaselineConfig, baseline
from models.config import TransformerConfig, from_dict
from models.finetuning import failed, finetune_classifier
from models.finetuning_optimizers import LayerwiseAdamW
from models.run_folder import load_config
from models.trainer import Trainer

QUICK = {"sequence_length": 32, "num_epochs": 1, "minimum_steps": 1, "batch_size": 16, "learning_rate": 0.02}


@pytest.fixture
def table(tmp_path):
    def write(rows, columns=("text", "label"), name="rows.csv"):
        with open(tmp_path / name, "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([columns, *rows])
        return str(tmp_path / name)
    return write


def one_line(capsys, *arguments):
    """Runs a command that must fail; returns the line on stderr."""
    capsys.readouterr()
    assert app.__main__.main(["finetune", *map(str, arguments)]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ") and errors.count("\n") == 1
    return errors


def record_starts(monkeypatch, then):
    """The weights of each model at the beginning of its training, by path; `then` goes on."""
    starts = []

    def run(self, *arguments):
        starts.append({variable.path: variable.numpy() for variable in self.model.variables})
        then(self, *arguments)

    monkeypatch.setattr(Trainer, "run", run)
    return starts


class EnoughSeen(Exception):
    pass


@pytest.mark.parametrize("fresh", [False, True])
def test_the_encoder_starts_bit_equal_to_the_pretrained_one(pretrained_run, labelled_csv, tmp_path, monkeypatch, fresh):
    def stop(*arguments):
        raise EnoughSeen

    starts = record_starts(monkeypatch, stop)
    with pytest.raises(EnoughSeen):
        finetune(data=(str(labelled_csv),), to=tmp_path / "run", backbone=str(pretrained_run), fresh=fresh, **QUICK)
    backbone = bert.backbone(from_dict(TransformerConfig, load_config(pretrained_run, "masked_lm")["model"]))
    backbone.load_weights(pretrained_run / "backbone.weights.h5")
    equal = {variable.path: np.array_equal(starts[0][variable.path], variable.numpy())
             for variable in backbone.variables}
    assert len(equal) > 2 * 6
    if fresh:
        assert not equal["token_embedding/embeddings"] and not equal["layer_0_attention/query_key_value"]
    else:
        assert all(equal.values())
        assert not any(value.any() for path, value in starts[0].items() if path.startswith("classes/"))


def test_a_run_folder_answers(classifier_run, labelled_csv):
    classifier = load_classifier(classifier_run)
    assert classifier.label_names == ("negative", "positive") and not classifier.takes_pairs
    texts = ["the film was wonderful today", "", "质量很差 一直"]
    probabilities = classifier.probabilities(texts)
    assert probabilities.shape == (3, 2) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(classifier.probabilities(texts[::-1])[::-1], probabilities, atol=1e-6)
    assert classifier.probabilities([]).shape == (0, 2)
    with pytest.raises(ValueError, match="takes single texts. Received: pairs"):
        classifier.probabilities(["a"], ["b"])
    config = load_config(classifier_run, "classifier")
    entries = [json.loads(line) for line in open(classifier_run / "history.jsonl", encoding="utf-8")]
    assert config["seeds"][0]["accuracy"] == max(entry["validation_accuracy"] for entry in entries)
    assert config["num_examples"] + config["seeds"][0]["count"] == 120


def test_opinions_are_learned(labelled_csv, tmp_path):
    result = finetune(data=(str(labelled_csv),), to=tmp_path / "run", task="sentiment", model="baseline",
                      vocabulary_size=300, **{**QUICK, "minimum_steps": 200, "learning_rate": None})
    assert result["validation_accuracy"] > 0.9
    probabilities = load_classifier(tmp_path / "run").probabilities(["this hotel was terrible", "这部电影 非常好"])
    assert probabilities.argmax(axis=1).tolist() == [0, 1]


def test_the_encoder_from_scratch(labelled_csv, tokenizer, tmp_path, saved_tokenizer):
    finetune(data=(str(labelled_csv),), to=tmp_path / "run", tokenizer=saved_tokenizer, **QUICK)
    classifier = load_classifier(tmp_path / "run")
    assert classifier.label_names == ("neg", "pos") and classifier.tokenizer.sha256 == tokenizer.sha256
    assert load_config(tmp_path / "run", "classifier")["backbone"] == "none"


def test_pairs_are_learned_and_answered(table, saved_tokenizer, tmp_path):
    words = ["film", "hotel", "phone", "book", "song", "电影", "酒店", "手机"]
    rows = [(f"the {one}", f"this {other} today", "same" if one == other else "other")
            for one in words for other in words]
    finetune(data=(table(rows, ("first", "second", "label")),), to=tmp_path / "run", text_column="first",
             pair_column="second", tokenizer=saved_tokenizer, model="baseline", **QUICK)
    classifier = load_classifier(tmp_path / "run")
    assert classifier.takes_pairs
    found = classifier.probabilities(["the film", "the film"], ["this film", "this hotel"])
    assert found.shape == (2, 2) and np.isfinite(found).all()
    with pytest.raises(ValueError, match="takes pairs of texts. Received: single texts"):
        classifier.probabilities(["the film"])


def test_several_seeds_give_mean_and_spread(labelled_csv, tmp_path, monkeypatch, capsys, saved_tokenizer):
    starts = record_starts(monkeypatch, Trainer.run)
    result = finetune(data=(str(labelled_csv),), to=tmp_path / "run", model="baseline", tokenizer=saved_tokenizer,
                      seeds=2, seed=5, ngrams=100, **{**QUICK, "minimum_steps": 100})
    accuracies = [run["accuracy"] for run in result["seeds"]]
    assert [run["seed"] for run in result["seeds"]] == [5, 6]
    assert result["validation_accuracy"] == pytest.approx(np.mean(accuracies))
    assert result["validation_accuracy_sd"] == pytest.approx(np.std(accuracies, ddof=1))
    assert f"± {result['validation_accuracy_sd']:.3f} over 2 seeds" in capsys.readouterr().out
    assert not np.array_equal(starts[0]["classes/kernel"], starts[1]["classes/kernel"])
    best = max(result["seeds"], key=lambda run: (run["accuracy"], -run["loss"]))
    classifier = load_classifier(tmp_path / "run")
    assert classifier.model.get_layer("bigram_embedding").input_dim == 100
    history = [json.loads(line) for line in open(tmp_path / "run" / "history.jsonl", encoding="utf-8")]
    assert max(entry["validation_accuracy"] for entry in history) == best["accuracy"]


def test_few_labels_are_balanced(table, tmp_path, monkeypatch, saved_tokenizer):
    seen = record_batches(monkeypatch)
    rows = [(f"good film {n}", "pos") for n in range(60)] + [(f"bad film {n}", "neg") for n in range(12)]
    finetune(data=(table(rows),), to=tmp_path / "run", model="baseline", tokenizer=saved_tokenizer, labels=8,
             **{**QUICK, "batch_size": 8})
    assert np.bincount(seen[0]["labels"]).tolist() == [4, 4]
    assert load_config(tmp_path / "run", "classifier")["num_examples"] == 8


def record_batches(monkeypatch):
    seen, original = [], Trainer.run

    def run(self, batches, budget, on_step):
        original(self, (seen.append(batch) or batch for batch in batches), budget, on_step)

    monkeypatch.setattr(Trainer, "run", run)
    return seen


def test_balance_gives_rare_classes_weight(table, tmp_path, monkeypatch, saved_tokenizer):
    seen = record_batches(monkeypatch)
    rows = [(f"good film {n}", "pos") for n in range(40)] + [(f"bad film {n}", "neg") for n in range(10)]
    finetune(data=(table(rows),), to=tmp_path / "run", model="baseline", tokenizer=saved_tokenizer, balance=True,
             validation_share=0.5, **{**QUICK, "batch_size": 64})
    weights = {label: weight for label, weight in zip(seen[0]["labels"], seen[0]["sample_weight"])}
    assert weights == {0: pytest.approx(25 / (2 * 5)), 1: pytest.approx(25 / (2 * 20))}


def test_without_validation_every_label_is_used(labelled_csv, tmp_path, saved_tokenizer):
    result = finetune(data=(str(labelled_csv),), to=tmp_path / "run", model="baseline", tokenizer=saved_tokenizer,
                      validation_share=0.0, **QUICK)
    assert load_config(tmp_path / "run", "classifier")["num_examples"] == 120
    assert result["seeds"][0]["count"] == 120


def test_data_that_cannot_be_learned_from(table, labelled_csv, saved_tokenizer, tmp_path, capsys):
    to = ("--to", tmp_path / "run", "--model", "baseline", "--tokenizer", saved_tokenizer)
    one_class = table([(f"good film {n}", "pos") for n in range(9)])
    assert "at least two classes. Received: 9 examples of pos" in one_line(capsys, "--data", one_class, *to)
    unseen = table([("good", "pos"), ("so so", "neutral")], name="validation.csv")
    errors = one_line(capsys, "--data", labelled_csv, "--validation", unseen, *to)
    assert "a label must be one of neg, pos. Received: 'neutral'" in errors and "validation.csv:3" in errors
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    assert "empty.csv" in one_line(capsys, "--data", empty, *to)
    assert "nowhere.csv" in one_line(capsys, "--data", tmp_path / "nowhere.csv", *to)
    assert "there must be a column stars" in one_line(capsys, "--data", labelled_csv, "--label-column", "stars", *to)
    pairs = table([("a", "x"), ("b", "y")])
    assert "validation needs at least one example" in one_line(capsys, "--data", pairs, *to)
    assert "an example of each class" in one_line(capsys, "--data", labelled_csv, "--labels", 1, *to)
    assert not (tmp_path / "run").exists()


def test_options_that_do_not_fit(labelled_csv, classifier_run, pretrained_run, tmp_path, capsys):
    data, to = ("--data", labelled_csv), ("--to", tmp_path / "run")
    assert "must be a new folder" in one_line(capsys, *data, "--to", classifier_run)
    assert "must be a masked_lm run" in one_line(capsys, *data, *to, "--backbone", classifier_run)
    assert "no such folder" in one_line(capsys, *data, *to, "--backbone", tmp_path / "nowhere")
    assert "--batch-size must be at least 1" in one_line(capsys, *data, *to, "--batch-size", 0)
    assert "--sequence-length must be at least 8" in one_line(capsys, *data, *to, "--sequence-length", 2)
    assert "--learning-rate must be above 0" in one_line(capsys, *data, *to, "--learning-rate", -1)
    assert "--layer-decay must be above 0" in one_line(capsys, *data, *to, "--layer-decay", 0)
    assert "--ngrams belongs to --model baseline" in one_line(capsys, *data, *to, "--ngrams", 9)
    assert "--longest-ngram to --ngrams" in one_line(capsys, *data, *to, "--model", "baseline", "--longest-ngram", 3)
    assert "--vocabulary-size is of a tokenizer trained here" in one_line(
        capsys, *data, *to, "--backbone", pretrained_run, "--vocabulary-size", 300)
    assert "--size is of an encoder" in one_line(capsys, *data, *to, "--model", "baseline", "--size", "mini")
    assert "dropout must be in [0, 1)" in one_line(capsys, *data, *to, "--dropout", 1)
    assert "goes on with the training of a --backbone. Received: 1.0" in one_line(
        capsys, *data, *to, "--adapt-minutes", 1)
    assert not (tmp_path / "run").exists()


def test_a_changed_backbone_is_refused(pretrained_run, labelled_csv, tmp_path, capsys):
    copy = tmp_path / "backbone"
    copy.mkdir()
    for name in ("config.json", "tokenizer.json", "backbone.weights.h5", "masked_lm.weights.h5"):
        (copy / name).write_bytes((pretrained_run / name).read_bytes())
    content = bytearray((copy / "backbone.weights.h5").read_bytes())
    content[-100] ^= 1
    (copy / "backbone.weights.h5").write_bytes(content)
    errors = one_line(capsys, "--data", labelled_csv, "--to", tmp_path / "run", "--backbone", copy)
    assert "backbone.weights.h5 must be the file that was saved with the run" in errors


# finetune_classifier, on two-word toys

def toy_batches(labels_are_random=False, seed=0):
    """Class = first token. Random labels cannot be learned."""
    random = np.random.default_rng(seed)
    while True:
        labels = random.integers(0, 2, 16).astype(np.int32)
        token_ids = np.stack([5 + labels, random.integers(7, 32, 16)], axis=1).astype(np.int32)
        yield {"token_ids": token_ids, "segment_ids": np.ones_like(token_ids),
               "labels": random.permutation(labels) if labels_are_random else labels,
               "sample_weight": np.ones(16, np.float32)}


def toy(rate=0.05, **options):
    def build():
        model = baseline(BaselineConfig(32, 2, 8))
        return Trainer(model, LayerwiseAdamW(rate, [model.trainable_variables]), rate, warmup=0.1)

    held_out = list(itertools.islice(toy_batches(seed=1), 2))
    options = {"steps": 40, "interval": 4, "patience": 3, "seed": 0, **options}
    options.setdefault("class_shares", np.array([0.5, 0.5]))
    training = options.pop("training", lambda seed: toy_batches(seed=seed))
    return finetune_classifier(options.pop("build", build), training, lambda: held_out, **options), held_out


def accuracy_of(weights, batches):
    model = baseline(BaselineConfig(32, 2, 8))
    model.set_weights(weights)
    predicted = [np.argmax(model({name: batch[name] for name in model.input}), axis=-1) for batch in batches]
    return np.mean([predicted == batch["labels"] for predicted, batch in zip(predicted, batches)])


def test_the_toy_is_learned():
    steps = []
    run, held_out = toy(on_step=lambda step, loss: steps.append(step))
    assert run.validation["accuracy"] == accuracy_of(run.weights, held_out) == 1.0
    assert run.seed == 0 and run.notes == [] and run.seconds > 0 and steps == list(range(1, len(steps) + 1))


def test_the_best_weights_are_kept_and_training_ends_early():
    def then_noise(seed):
        good, bad = toy_batches(seed=seed), toy_batches(labels_are_random=True)
        for _ in range(40):
            yield next(good)
        while True:  # the opposite of what was right
            batch = next(bad)
            yield {**batch, "labels": (6 - batch["token_ids"][:, 0]).astype(np.int32)}

    run, held_out = toy(steps=200, interval=20, training=then_noise)
    accuracies = [entry["validation_accuracy"] for entry in run.history]
    assert max(accuracies) == 1.0 > accuracies[-1]
    assert len(accuracies) == accuracies.index(1.0) + np.count_nonzero(np.array(accuracies) == 1.0) + 3 < 10
    assert run.validation["accuracy"] == accuracy_of(run.weights, held_out) == 1.0
    last, held_out = toy(steps=200, interval=20, training=then_noise, patience=None)
    assert len(last.history) == 10 and "validation_loss" not in last.history[-2]
    assert last.validation["accuracy"] == accuracy_of(last.weights, held_out) < 1.0


def test_a_failed_run_is_started_from_another_seed():
    built = []

    def build():
        model = baseline(BaselineConfig(32, 2, 8))
        built.append(model)
        if len(built) == 1:  # dead at the start: nothing gets through
            model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
        return Trainer(model, LayerwiseAdamW(0.05, [model.trainable_variables]), 0.05, warmup=0.1)

    run, held_out = toy(build=build, patience=None)
    assert run.seed == 1000 and len(built) == 2 and run.validation["accuracy"] == 1.0
    assert len(run.notes) == 1 and run.notes[0].startswith("seed 0: the training loss stayed at 0.69")
    assert run.notes[0].endswith("; started again")


def test_after_three_failures_it_is_left_at_that():
    run, _ = toy(rate=0.0, training=lambda seed: toy_batches(labels_are_random=True, seed=seed))
    assert run.seed in (0, 1000, 2000) and len(run.notes) == 3 and not run.notes[2].endswith("started again")


def test_what_never_was_finite_is_an_error_and_the_best_of_failures_is_kept():
    def not_finite_but(good):
        def training(seed):
            for batch in toy_batches(labels_are_random=True, seed=seed):
                yield batch if seed == good else {**batch, "sample_weight": np.full(16, np.nan, np.float32)}
        return training

    run, _ = toy(rate=0.0, training=not_finite_but(0))
    assert run.seed == 0 and [("nan" in note) for note in run.notes] == [False, True, True]
    with pytest.raises(ValueError, match="must stay finite. Received: loss nan .* from 3 seeds"):
        toy(training=not_finite_but(None))
    with pytest.raises(KeyboardInterrupt, match="Nothing is saved"):
        toy(training=not_finite_but(None), stopped=lambda: True)


def test_what_is_measured_by_is_not_learned_from(labelled_csv, table, tmp_path, saved_tokenizer, capsys):
    with open(labelled_csv, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    finetune(data=(str(labelled_csv),), validation=(table(rows[:20]),), to=tmp_path / "run", model="baseline",
             tokenizer=saved_tokenizer, **QUICK)
    assert load_config(tmp_path / "run", "classifier")["num_examples"] == 100
    shown = capsys.readouterr().out
    assert "100 examples to train on, 20 to stop by" in shown and "20 left out that stand in --validation" in shown
    assert "Received: none of neg and pos; 120 that stand" in one_line(capsys, "--data", labelled_csv, "--validation", labelled_csv, "--to",
                                              tmp_path / "other")


def test_many_held_out_texts_still_choose_among_evaluations(labelled_csv, table, tmp_path, saved_tokenizer):
    others = [(f"film {number}", ("pos", "neg")[number % 2]) for number in range(120)]
    finetune(data=(str(labelled_csv),), validation=(table(others),) * 50, to=tmp_path / "run", model="baseline",
             tokenizer=saved_tokenizer, **{**QUICK, "minimum_steps": 8})
    history = (tmp_path / "run" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(history) == 4


@pytest.mark.parametrize(("shares", "loss", "accuracy", "is_failure"), [
    ((0.5, 0.5), 0.69, 0.5, True), ((0.5, 0.5), 0.30, 0.5, False), ((0.5, 0.5), 0.69, 0.6, False),
    # The entropy of 0.9 and 0.1 is 0.325: naming one class is no feat there, and a loss below ln 2 neither.
    ((0.9, 0.1), 0.33, 0.9, True), ((0.9, 0.1), 0.20, 0.9, False), ((0.9, 0.1, 0.0), 0.33, 0.9, True),
    ((0.25, 0.25, 0.25, 0.25), 1.38, 0.2, True)])
def test_what_counts_as_a_failure(shares, loss, accuracy, is_failure):
    history = [{"loss": 1.5}, {"loss": loss, "validation_accuracy": accuracy}]
    assert (failed(history, np.array(shares), 1000) is not None) == is_failure


def test_stopping_keeps_the_best_so_far(labelled_csv, tmp_path, monkeypatch, capsys, saved_tokenizer):
    def run(self, batches, budget, on_step, original=Trainer.run):
        def interrupted(loss, norm):
            if self.step == 10:
                os.kill(os.getpid(), signal.SIGINT)
            return on_step(loss, norm)

        original(self, batches, budget, interrupted)

    monkeypatch.setattr(Trainer, "run", run)
    with pytest.raises(KeyboardInterrupt, match="The best weights so far are in .*run; to train longer"):
        finetune(data=(str(labelled_csv),), to=tmp_path / "run", model="baseline", tokenizer=saved_tokenizer, seeds=3,
                 **{**QUICK, "minimum_steps": 100})
    assert "stopped by the user at step 10 of 34" in capsys.readouterr().out
    history = [json.loads(line) for line in open(tmp_path / "run" / "history.jsonl", encoding="utf-8")]
    assert [entry["step"] for entry in history] == [4, 8, 10]
    best = max(history, key=lambda entry: (entry["validation_accuracy"], -entry["validation_loss"]))
    (run,) = load_config(tmp_path / "run", "classifier")["seeds"]  # the other two never began
    assert run["accuracy"] == best["validation_accuracy"] and run["loss"] == best["validation_loss"]
    assert load_classifier(tmp_path / "run").probabilities(["good"]).shape == (1, 2)


def test_a_backbone_of_fewer_positions_reads_long_texts_in_segments(pretrained_run, labelled_csv, tmp_path):
    finetune(data=(str(labelled_csv),), to=tmp_path / "run", backbone=str(pretrained_run),
             **{**QUICK, "sequence_length": 80})
    classifier = load_classifier(tmp_path / "run")
    assert (classifier.sequence_length, classifier.segment_length) == (80, 32)
    long = "the film was wonderful " * 20
    one, other = (classifier.probabilities([text]) for text in (long, long.replace("film", "phone")))
    assert np.isfinite(one).all() and (one != other).any()
