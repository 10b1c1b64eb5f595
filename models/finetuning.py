"""A classifier and batches in, its best weights by validation out; failed runs are seen and started again."""

import dataclasses

import keras
import numpy as np

from models.trainer import Budget, NotFiniteError

RESTARTS = 2


@dataclasses.dataclass(frozen=True)
class Finetuned:
    """One trained classifier.

    Attributes:
        seed: the seed that it really came from.
        weights: list of arrays for `model.set_weights`.
        validation: {"loss", "accuracy", "count"} of these weights.
        seconds: time spent in training steps, those of failed attempts too.
        history: one dict per interval, its mean training loss among others.
        notes: what a user should know: restarts, an interruption.
    """

    seed: int
    weights: list
    validation: dict
    seconds: float
    history: list
    notes: list


def finetune_classifier(build, training_batches, validation_batches, *, steps, interval, patience, seed, class_shares,
                        on_step=None, stopped=lambda: False):
    """Trains until the steps are done or validation has not improved for a while.

    Args:
        build: `build()` → `Trainer`, called after the seed is set.
        training_batches: `training_batches(seed)` → endless iterable of batches, a pure function of the seed.
        validation_batches: `validation_batches()` → iterable of batches.
        interval: steps between two evaluations.
        patience: evaluations without improvement after which training ends and the best weights are kept. None: all
            steps are done, the last weights are kept and they alone are evaluated, for when every label is needed for
            training.
        class_shares: float (C,), how much of the training each class is, weights counted in; they sum to 1.
        on_step: called as `on_step(step, loss)`.
        stopped: True when the user asked to stop: the best weights so far are returned.

    Returns:
        `Finetuned`.
    """
    notes, kept, seconds = [], None, 0.0
    for attempt in range(RESTARTS + 1):
        attempt_seed = seed + 1000 * attempt
        keras.utils.set_random_seed(attempt_seed)
        trainer = build()
        try:
            best, history = _train(trainer, training_batches(attempt_seed), validation_batches, steps, interval,
                                   patience, on_step, stopped)
            failure = failed(history, class_shares, best["validation"]["count"])
            if failure is None or kept is None or best["rank"] > kept[1]["rank"]:
                kept = attempt_seed, best, history
        except NotFiniteError as error:
            failure = str(error)
        seconds += trainer.seconds
        if failure is None or stopped():
            break
        notes.append(f"seed {attempt_seed}: {failure}" + ("; started again" if attempt < RESTARTS else ""))
    if stopped():
        if kept is None:
            raise KeyboardInterrupt("Nothing is saved: the training was not finite")
        notes.append(f"stopped by the user at step {trainer.step} of {steps}")
    elif kept is None:
        raise ValueError(f"training must stay finite. Received: {failure}, from {RESTARTS + 1} seeds. "
                         f"Lower the learning rate from {trainer.learning_rate}")
    attempt_seed, best, history = kept
    return Finetuned(attempt_seed, best["weights"], best["validation"], seconds, history, notes)


def _train(trainer, batches, validation_batches, steps, interval, patience, on_step, stopped):
    """Runs one attempt; returns the kept evaluation with its weights, and the history."""
    best = {}
    history, losses = [], []

    def after_step(loss, gradient_norm):
        losses.append(loss)
        if on_step:
            on_step(trainer.step, loss)
        is_last = trainer.step == steps or stopped()
        if trainer.step % interval and not is_last:
            return True
        history.append({"step": trainer.step, "loss": float(np.mean(losses)), "gradient_norm": gradient_norm})
        losses.clear()
        if patience is None and not is_last:
            return True
        validation = trainer.evaluate(validation_batches())
        history[-1].update(validation_loss=validation["loss"], validation_accuracy=validation["accuracy"])
        # By loss among equals: with few validation examples many evaluations have the same accuracy.
        rank = (validation["accuracy"], -validation["loss"])
        if not best or rank > best["rank"]:
            best.update(rank=rank, validation=validation, weights=trainer.model.get_weights(), age=0)
        else:
            best["age"] += 1
        return not is_last and best["age"] < patience

    trainer.run(batches, Budget(steps=steps), after_step)
    return best, history


def failed(history, class_shares, num_validation):
    """Why a run is no good, or None: the gradients vanished at the start and it learned the class sizes at most.

    Then its accuracy is the share of the largest class or less, and its loss the entropy of the shares.

    Args:
        history: of one run, as `finetune_classifier` records it.
        class_shares: float (C,), summing to 1.
        num_validation: validation examples, N.
    """
    accuracy = max(entry.get("validation_accuracy", 0.0) for entry in history)
    loss = history[-1]["loss"]
    shares = class_shares[class_shares > 0]
    # Two standard errors above: a small validation split may hold more of the largest class.
    largest = shares.max() + 2 * np.sqrt(shares.max() * (1 - shares.max()) / num_validation)
    if accuracy <= largest and loss > -0.95 * np.sum(shares * np.log(shares)):
        return (f"the training loss stayed at {loss:.3f} and the validation accuracy at {accuracy:.3f}, "
                "what the sizes of the classes alone would reach")
    return None
