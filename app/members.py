"""Encoded examples in, one trained classifier out: how the encoder and the baseline learn."""

import dataclasses
import math
from pathlib import Path

import numpy as np

from app.classifier import build_classifier
from app.terminal import progress_bar, warn
from models.bag_trainer import BagTrainer, bag_rows
from models.baseline import BaselineConfig
from models.config import from_dict
from models.finetuning import finetune_classifier
from models.finetuning_optimizers import LayerwiseAdamW, depths
from models.trainer import Trainer

# Highest learning rates. Pretrained, with 500 labels of the demo's news titles: 1e-3 .750, 3e-3 .742, of its reviews
# .688 and .669 (development splits, one seed); from scratch it is untuned. The baseline's: benchmarks/findings.md.
LEARNING_RATES = {"baseline": 0.2, "scratch": 1e-3, "pretrained": 1e-3}
# Of a backbone of KerasHub, times its width: 5e-5 at 768 (Devlin et al. 2019, A.3), 3e-4 at 128 (Turc et al. 2019).
HUB_LEARNING_RATE = 0.04
MINIMUM_STEPS = {"baseline": 1000, "scratch": 300, "pretrained": 300}  # the baseline's: benchmarks/findings.md
BAG_EPOCHS = 5  # of a committee's bag: as the larger sets of benchmarks/findings.md, with which the bag was tuned
WARMUP = 0.1  # of an encoder's steps
VALIDATION_TEXTS = 1024  # measured at a time by the baseline
STRETCHES = 40  # the baseline's steps at most: each goes through many batches; the learning rate falls between them


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a classifier learns; the fields are the options of `app.finetune.finetune`.

    Attributes:
        kind: "baseline", "scratch" or "pretrained".
        backbone: the folder with the "backbone.weights.h5" that a pretrained encoder starts from.
        patience: None = all steps are done and the last weights are kept.
        class_weights: float32 (C,) or None.
    """

    kind: str
    learning_rate: float
    num_epochs: int
    minimum_steps: int
    batch_size: int
    patience: int | None
    backbone: str = "none"
    layer_decay: float = 1.0
    class_weights: np.ndarray | None = None

    def of_bag(self):
        """How a committee's bag learns beside encoders that learn by this plan."""
        return dataclasses.replace(self, kind="baseline", learning_rate=LEARNING_RATES["baseline"],
                                   num_epochs=BAG_EPOCHS, minimum_steps=MINIMUM_STEPS["baseline"])


def train(description, plan, encoded, held_out, seed, stopped):
    """Trains one classifier.

    Args:
        description: what `app.classifier.build_classifier` takes.
        plan: `Plan`.
        encoded, held_out: `data.batching.EncodedExamples` to train on and to stop by.
        seed: int.
        stopped: True when the user asked to stop.

    Returns:
        `models.finetuning.Finetuned`.
    """
    batch_size, weights, num_classes = plan.batch_size, plan.class_weights, len(description["label_names"])
    is_bag = plan.kind == "baseline"
    if is_bag:
        config = from_dict(BaselineConfig, description["model"])
        shared = held_out is encoded
        encoded = dataclasses.replace(encoded, rows=bag_rows(encoded.rows, config))
        held_out = encoded if shared else dataclasses.replace(held_out, rows=bag_rows(held_out.rows, config))

    def build():
        classifier = build_classifier(description)
        if is_bag:
            return BagTrainer(classifier, encoded.flat(range(len(encoded)), weights), plan.learning_rate, batch_size)
        if plan.kind == "pretrained":
            classifier.get_layer("backbone").load_weights(Path(plan.backbone) / "backbone.weights.h5")
        optimizer = LayerwiseAdamW(plan.learning_rate, depths(classifier, description["model"]["num_layers"]),
                                   plan.layer_decay)
        return Trainer(classifier, optimizer, plan.learning_rate, warmup=WARMUP)

    def training_batches(seed):
        if is_bag:
            return encoded.stretches(batch_size * stretch, seed, weights)
        return encoded.endless(batch_size, seed, weights)

    def validation_batches():
        if is_bag:
            return held_out.flat_in_order(VALIDATION_TEXTS)
        return held_out.in_order_of_length(4 * batch_size)

    steps = max(plan.num_epochs * math.ceil(len(encoded) / batch_size), plan.minimum_steps)
    stretch = math.ceil(steps / STRETCHES) if is_bag else 1
    steps = math.ceil(steps / stretch)
    # Ten evaluations, or fewer where many texts are held out: each takes a quarter of the time of as many texts'
    # training, so all of them at most an eighth; but never fewer than four, or nothing would be chosen.
    measuring = 2 * math.ceil(len(held_out) / batch_size / stretch)
    interval = min(max(math.ceil(steps / 10), measuring), math.ceil(steps / 4))
    shares = np.bincount(encoded.labels, weights=None if weights is None else weights[encoded.labels],
                         minlength=num_classes)
    with progress_bar(f"{plan.kind}, seed {seed}", steps, "steps") as advance:
        run = finetune_classifier(
            build, training_batches, validation_batches, steps=steps, interval=interval, patience=plan.patience,
            seed=seed, class_shares=shares / shares.sum(),
            on_step=lambda step, loss: advance(1, f"loss {loss:.3f}"), stopped=stopped)
    for note in run.notes:
        warn(note)
    return run


def train_seeds(description, plan, encoded, held_out, seeds, stopped):
    """Trains one classifier from each seed and keeps the best by validation.

    Returns:
        (the classifier, its history, dict for the run's config: mean and spread of the accuracy, mean seconds, seeds).
    """
    runs = []
    for seed in seeds:
        runs.append(train(description, plan, encoded, held_out, seed, stopped))
        if stopped():
            break
    accuracies = [run.validation["accuracy"] for run in runs]
    result = {"validation_accuracy": float(np.mean(accuracies)),
              "validation_accuracy_sd": float(np.std(accuracies, ddof=1)) if len(runs) > 1 else 0.0,
              "seconds": float(np.mean([run.seconds for run in runs])),
              "seeds": [{"seed": run.seed, **run.validation, "notes": run.notes} for run in runs]}
    best = max(runs, key=lambda run: (run.validation["accuracy"], -run.validation["loss"]))
    classifier = build_classifier(description)
    classifier.set_weights(best.weights)
    return classifier, best.history, result
