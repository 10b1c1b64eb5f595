"""A classifier and batches in, the best weights by validation out; failed runs are seen and started again."""

import dataclasses
import math

import keras
import numpy as np

from models.trainer import Budget, Trainer

RESTARTS = 2


@dataclasses.dataclass(frozen=True)
class Finetuned:
    """One trained classifier.

    Attributes:
        seed: the seed that it really came from.
        weights: list of arrays for `model.set_weights`.
        validation: {"loss", "accuracy", "count"} of these weights.
        history: one dict per evaluation.
        notes: what a user should know: restarts, an interruption.
    """

    seed: int
    weights: list
    validation: dict
    history: list
    notes: list


def finetune_classifier(build, epoch_batches, validation_batches, *, learning_rate, num_epochs, steps_per_epoch,
                        minimum_steps, patience, seed, majority_share, warmup=0.1, on_step=None,
                        stopped=lambda: False):
    """Trains until the budget is spent or validation has not improved for a while.

    Args:
        build: `build()` → (model, optimizer), made after the seed is set.
        epoch_batches: `epoch_batches(seed, epoch)` → iterable of training batches.
        validation_batches: `validation_batches()` → iterable of batches.
        minimum_steps: with few examples the epochs are repeated up to this many steps (Mosbach et al. 2021).
        patience: evaluations without improvement after which training ends.
        majority_share: the share of the largest class: what a model without understanding reaches.
        on_step: called as `on_step(step, steps, loss)`.
        stopped: True when the user asked to stop: the best weights so far are returned.

    Returns:
        `Finetuned`.
    """
    notes = []
    for attempt in range(RESTARTS + 1):
        attempt_seed = seed + 1000 * attempt
        keras.utils.set_random_seed(attempt_seed)
        model, optimizer = build()
        steps = max(num_epochs * steps_per_epoch, minimum_steps)
        trainer = Trainer(model, optimizer, learning_rate, warmup=warmup)
        best, history = _train(trainer, steps, epoch_batches, validation_batches, patience, attempt_seed, on_step,
                               stopped)
        failure = failed(history, majority_share)
        if failure is None or stopped():
            break
        notes.append(f"seed {attempt_seed}: {failure}" + ("; started again" if attempt < RESTARTS else ""))
    if stopped():
        notes.append(f"stopped by the user at step {trainer.step} of {steps}")
    return Finetuned(attempt_seed, best["weights"], best["validation"], history, notes)


def _train(trainer, steps, epoch_batches, validation_batches, patience, seed, on_step, stopped):
    """Runs one attempt; returns the best evaluation with its weights, and all evaluations."""
    every = max(1, math.ceil(steps / max(10, min(20, steps // 100))))
    best = {"validation": None}
    history, losses = [], []

    def endless():
        epoch = 0
        while True:
            yield from epoch_batches(seed, epoch)
            epoch += 1

    def after_step(loss, gradient_norm):
        losses.append(loss)
        if on_step:
            on_step(trainer.step, steps, loss)
        if trainer.step % every and trainer.step < steps and not stopped():
            return True
        validation = trainer.evaluate(validation_batches())
        history.append({"step": trainer.step, "loss": float(np.mean(losses)), "gradient_norm": gradient_norm,
                        "validation_loss": validation["loss"], "validation_accuracy": validation["accuracy"]})
        losses.clear()
        # By loss among equals: with few validation examples many evaluations have the same accuracy.
        rank = (validation["accuracy"], -validation["loss"])
        if best["validation"] is None or rank > best["rank"]:
            best.update(rank=rank, validation=validation, weights=trainer.model.get_weights(), age=0)
        else:
            best["age"] += 1
        return best["age"] < patience and not stopped()

    trainer.run(endless(), Budget(steps=steps), after_step)
    return best, history


def failed(history, majority_share):
    """Why a run is no good, or None: the gradients vanished at the start and it learned the class sizes at most.

    Args:
        history: evaluations of one run, as `finetune_classifier` records them.
        majority_share: share of the largest class among the validation examples.
    """
    accuracy = max(entry["validation_accuracy"] for entry in history)
    first, last = history[0]["loss"], history[-1]["loss"]
    if accuracy <= majority_share + 1e-6 and last > 0.95 * first:
        return (f"the training loss stayed at {last:.3f} and the validation accuracy at {accuracy:.3f}, "
                "what naming the largest class alone would reach")
    return None
