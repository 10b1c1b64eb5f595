"""A classifier and batches in, its best weights by validation out; failed runs are seen and started again."""

import dataclasses
import math

import keras
import numpy as np

from models.trainer import Budget, NotFiniteError, Trainer

RESTARTS = 2


@dataclasses.dataclass(frozen=True)
class Finetuned:
    """One trained classifier.

    Attributes:
        seed: the seed that it really came from.
        weights: list of arrays for `model.set_weights`.
        validation: {"loss", "accuracy", "count"} of these weights.
        seconds: time spent in training steps.
        history: one dict per evaluation.
        notes: what a user should know: restarts, an interruption.
    """

    seed: int
    weights: list
    validation: dict
    seconds: float
    history: list
    notes: list


def finetune_classifier(build, training_batches, validation_batches, *, learning_rate, steps, patience, seed,
                        majority_share, warmup=0.1, on_step=None, stopped=lambda: False):
    """Trains until the steps are done or validation has not improved for a while.

    Args:
        build: `build()` → (model, optimizer), called after the seed is set.
        training_batches: `training_batches(seed)` → endless iterable of batches, a pure function of the seed.
        validation_batches: `validation_batches()` → iterable of batches.
        patience: evaluations without improvement after which training ends and the best weights are kept. None: all
            steps are done and the last weights are kept, for when every label is needed for training.
        majority_share: the share of the largest class: what a model without understanding reaches.
        on_step: called as `on_step(step, loss)`.
        stopped: True when the user asked to stop: the best weights so far are returned.

    Returns:
        `Finetuned`.
    """
    notes = []
    for attempt in range(RESTARTS + 1):
        attempt_seed = seed + 1000 * attempt
        keras.utils.set_random_seed(attempt_seed)
        trainer = Trainer(*build(), learning_rate, warmup=warmup)
        try:
            best, history = _train(trainer, training_batches(attempt_seed), validation_batches, steps, patience,
                                   on_step, stopped)
            failure = failed(history, majority_share)
        except NotFiniteError as error:
            if attempt == RESTARTS:
                raise ValueError(f"training must stay finite. Received: {error}, from {RESTARTS + 1} seeds. "
                                 f"Lower the learning rate from {learning_rate}") from None
            failure = str(error)
        if failure is None or stopped():
            break
        notes.append(f"seed {attempt_seed}: {failure}" + ("; started again" if attempt < RESTARTS else ""))
    if stopped():
        notes.append(f"stopped by the user at step {trainer.step} of {steps}")
    return Finetuned(attempt_seed, best["weights"], best["validation"], trainer.seconds, history, notes)


def _train(trainer, batches, validation_batches, steps, patience, on_step, stopped):
    """Runs one attempt; returns the kept evaluation with its weights, and all evaluations."""
    every = math.ceil(steps / 10)
    best = {}
    history, losses = [], []

    def after_step(loss, gradient_norm):
        losses.append(loss)
        if on_step:
            on_step(trainer.step, loss)
        if trainer.step % every and trainer.step < steps and not stopped():
            return True
        validation = trainer.evaluate(validation_batches())
        history.append({"step": trainer.step, "loss": float(np.mean(losses)), "gradient_norm": gradient_norm,
                        "validation_loss": validation["loss"], "validation_accuracy": validation["accuracy"]})
        losses.clear()
        # By loss among equals: with few validation examples many evaluations have the same accuracy.
        rank = (validation["accuracy"], -validation["loss"])
        if patience is None or not best or rank > best["rank"]:
            best.update(rank=rank, validation=validation, weights=trainer.model.get_weights(), age=0)
        else:
            best["age"] += 1
        return (patience is None or best["age"] < patience) and not stopped()

    trainer.run(batches, Budget(steps=steps), after_step)
    return best, history


def failed(history, majority_share):
    """Why a run is no good, or None: the gradients vanished at the start and it learned the class sizes at most.

    Args:
        history: evaluations of one run, as `finetune_classifier` records them.
        majority_share: share of the largest class among the validation examples.
    """
    accuracy = max(entry["validation_accuracy"] for entry in history)
    first, last = history[0]["loss"], history[-1]["loss"]
    one_class_only = abs(accuracy - majority_share) < 1e-6
    if one_class_only or (accuracy < majority_share and last > 0.95 * first):
        return (f"the training loss stayed at {last:.3f} and the validation accuracy at {accuracy:.3f}, "
                "what naming the largest class alone would reach")
    return None
