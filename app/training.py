"""A trainer and its batches in, a finished run or one that can go on out: what every long training shares."""

import json
import math

from app.terminal import progress_bar, warn
from models.run_folder import check_free, load_checkpoint, save_checkpoint, whole, write_json
from models.trainer import Budget, NotFiniteError, stop_signals

EVALUATIONS = 10  # over the whole training


def budget_of(minutes, steps):
    """The `Budget` of the options --minutes and --steps: 10 minutes if neither is given."""
    if minutes is None and steps is None:
        minutes = 10.0
    return Budget(steps=steps, seconds=None if minutes is None else 60 * minutes)


def claim(folder, options, tokenizer):
    """Takes a new run folder, or one that the same command has begun.

    Raises:
        ValueError: the folder holds something else.
    """
    check_free(folder)
    path = folder / "options.json"
    if path.exists():
        try:
            begun = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise ValueError(f"{path} is damaged: choose another folder") from None
        changed = [name for name in options if options[name] != begun.get(name)]
        if changed:
            raise ValueError(f"{folder} holds a training begun with other options ({', '.join(changed)}). "
                             "Give the same ones to go on, or choose another folder")
    else:
        write_json(path, options)
    with whole(folder / "tokenizer.json") as path:
        tokenizer.save(path)


def resume(folder, trainer):
    """Puts the newest checkpoint into a trainer, if there is one.

    Returns:
        The losses of the steps since its last evaluation.
    """
    trainer.step, trainer.seconds, losses, damaged = load_checkpoint(folder, trainer.variables)
    for name in damaged:
        warn(f"checkpoint {name} is damaged; " + ("the one before it is used" if trainer.step else "training starts again"))
    return losses


def train(folder, trainer, batches, budget, history, checkpoint_every):
    """Trains until the budget is spent; saves checkpoints and evaluates on the way.

    Args:
        folder: the run folder, claimed before.
        trainer: `models.trainer.Trainer`, new or as a checkpoint left it.
        batches: iterable, the first one for `trainer.step`.
        budget: `models.trainer.Budget`.
        history: `app.history.History`.
        checkpoint_every: steps.

    Returns:
        The last evaluation, as `History.evaluate` returns it.

    Raises:
        KeyboardInterrupt: somebody asked to stop; a checkpoint is there to go on from.
        ValueError: the training did not stay finite.
    """
    with stop_signals() as stopped, _bar(budget, trainer) as advance:
        spent = budget.share(trainer.step, trainer.seconds)

        def after_step(loss, gradient_norm):
            nonlocal spent
            if math.isfinite(gradient_norm):  # else float16 skipped the step
                history.losses.append(loss)
                history.gradient_norm = gradient_norm
            share = min(1.0, budget.share(trainer.step, trainer.seconds))
            advance((share - spent) * (budget.steps or budget.seconds),
                    f"step {trainer.step:,}, loss {loss:.3f}, gradient {gradient_norm:.2f}")
            if math.floor(share * EVALUATIONS) > math.floor(spent * EVALUATIONS):
                history.evaluate()
            spent = share
            if trainer.step % checkpoint_every == 0 or share == 1 or stopped():
                save_checkpoint(folder, trainer.step, trainer.seconds, history.losses, trainer.variables)
            return not stopped()

        try:
            trainer.run(batches, budget, after_step)
        except NotFiniteError as error:
            raise ValueError(f"training must stay finite. Received: {error}. Choose another "
                             f"folder and a lower --learning-rate than {trainer.learning_rate}") from None
        if stopped():
            raise KeyboardInterrupt(f"Saved at step {trainer.step:,}: run the same command again to go on.")
    return history.result or history.evaluate()


def _bar(budget, trainer):
    total = (budget.steps or budget.seconds) * (1 - budget.share(trainer.step, trainer.seconds))
    return progress_bar("train", total, "steps" if budget.steps else "s")
