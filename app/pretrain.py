"""A prepared corpus in, a pretrained encoder out: masked language modelling, resumable at every step."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import tyro

from app.terminal import console, load_tensorflow, progress_bar

MASK_RATE = 0.15
EVALUATIONS = 10  # over the whole training
VALIDATION_ROWS = 512  # at most: 10,000 masked tokens, a standard error of 0.03 nats


def pretrain(
    corpus: tyro.conf.Positional[Path],
    /,
    *,
    to: Path,
    size: str = "tiny",
    num_layers: int | None = None,
    hidden_dim: int | None = None,
    num_heads: int | None = None,
    intermediate_dim: int | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    batch_size: int = 32,
    learning_rate: float = 5e-3,
    checkpoint_every: int = 200,
    seed: int = 0,
) -> dict:
    """Trains an encoder by masked language modelling. The same command again goes on where it stopped.

    Args:
        corpus: a folder that `prepare` made.
        to: the run folder, for example runs/mine.
        size: tiny (2 layers × 128), mini (4 × 256), small (4 × 512), medium (8 × 512) or base (12 × 768).
        num_layers: instead of the size's own.
        hidden_dim: instead of the size's own.
        num_heads: instead of the size's own.
        intermediate_dim: width inside the feed-forward layers; 4 × hidden_dim if not given.
        minutes: train for so long; time spent before an interruption counts. Default 10, unless steps are given.
        steps: train for so many batches instead.
        batch_size: rows in a batch.
        learning_rate: the highest one; it rises over the first 6 % of the budget and falls to 0.
        checkpoint_every: steps between two checkpoints.
        seed: of the initial weights, the order of the rows and the masks.
    """
    load_tensorflow()
    import keras
    import tensorflow as tf

    from data.masking import masked_examples, validation_examples
    from data.order import training_rows
    from data.prepared import load_prepared
    from models import bert, health, heads, run_folder
    from models.config import encoder_config
    from models.optimizers import pretraining_optimizer
    from models.trainer import Budget, NotFiniteError, Trainer, stop_signals

    budget = Budget(steps=steps) if steps else Budget(seconds=60 * (10 if minutes is None else minutes))
    prepared = load_prepared(corpus)
    entropy = health.unigram_entropy(prepared.token_counts)
    config = encoder_config(size, vocabulary_size=prepared.tokenizer.vocabulary_size,
                            sequence_length=prepared.sequence_length, num_layers=num_layers, hidden_dim=hidden_dim,
                            num_heads=num_heads, intermediate_dim=intermediate_dim)
    # What must be the same for a training to go on.
    options = {"corpus": prepared.sha256, "encoder": dataclasses.asdict(config), "batch_size": batch_size,
               "learning_rate": learning_rate, "seed": seed, "budget": dataclasses.asdict(budget)}
    _claim(to, options, prepared.tokenizer)
    console.print(f"corpus {corpus}: {len(prepared.train_rows):,} rows of {prepared.sequence_length} tokens, vocabulary "
                  f"{config.vocabulary_size:,}, unigram entropy {entropy:.2f}")
    _warn(health.unknown_warning(prepared.unknown_share))

    keras.utils.set_random_seed(seed)
    backbone = bert.backbone(config)
    model = heads.masked_lm(backbone)
    trainer = Trainer(model, pretraining_optimizer(learning_rate), learning_rate)
    trainer.step, trainer.seconds, damaged = run_folder.load_checkpoint(to, trainer.variables)
    for name in damaged:
        _warn(f"checkpoint {name} is damaged; the one before it is used")
    run_folder.cut_history(to, trainer.step)
    console.print(f"encoder {config.num_layers} × {config.hidden_dim}, {model.count_params():,} parameters"
                  + (f"; going on at step {trainer.step:,}" if trainer.step else ""))

    validation = validation_examples(prepared.validation_rows[:VALIDATION_ROWS], config.vocabulary_size, 64, MASK_RATE)
    examples = masked_examples(training_rows(prepared.train_rows, seed, trainer.step, batch_size), seed,
                               config.vocabulary_size, MASK_RATE)
    tensorboard = tf.summary.create_file_writer(str(to / "tensorboard"))
    sums = {"loss": 0.0, "steps": 0}
    share = budget.share(trainer.step, trainer.seconds)
    due = math.floor(share * EVALUATIONS) + 1  # which tenth of the budget is evaluated next
    result = {}

    def save():
        run_folder.save_checkpoint(to, trainer.step, trainer.seconds, trainer.variables)

    def evaluate():
        nonlocal result
        result = trainer.evaluate(validation)
        entry = {"step": trainer.step, "seconds": round(trainer.seconds, 1),
                 "tokens": trainer.step * batch_size * prepared.sequence_length,
                 "loss": sums["loss"] / max(1, sums["steps"]), "validation_loss": result["loss"],
                 "perplexity": math.exp(result["loss"]), "masked_accuracy": result["accuracy"]}
        sums.update(loss=0.0, steps=0)
        run_folder.append_history(to, **entry)
        with tensorboard.as_default():
            for name in ("loss", "validation_loss", "perplexity", "masked_accuracy"):
                tf.summary.scalar(name, entry[name], trainer.step)
        console.print(f"step {trainer.step:,}: held-out loss {result['loss']:.3f}, perplexity "
                      f"{entry['perplexity']:.1f}, masked accuracy {result['accuracy']:.3f}")
        for line in guesses(model, prepared.tokenizer, validation[0]):
            console.print(f"  {line}", markup=False, style="dim")

    with stop_signals() as stopped, _bar(budget, trainer) as advance:
        spent = budget.share(trainer.step, trainer.seconds)

        def after_step(loss, gradient_norm):
            nonlocal spent, due
            if trainer.step == 1:
                _warn(health.first_loss_warning(loss, config.vocabulary_size))
            sums["loss"] += loss
            sums["steps"] += 1
            share = min(1.0, budget.share(trainer.step, trainer.seconds))
            advance(_units(budget, share - spent), f"step {trainer.step:,}, loss {loss:.3f}, gradient {gradient_norm:.2f}")
            spent = share
            if share * EVALUATIONS >= due:
                due = math.floor(share * EVALUATIONS) + 1
                evaluate()
            if trainer.step % checkpoint_every == 0 or stopped():
                save()
            return not stopped()

        try:
            trainer.run(examples, budget, after_step)
        except NotFiniteError as error:
            raise ValueError(f"training must stay finite. Received: {error}. The last checkpoint in {to} is good; "
                             f"choose another folder and a lower --learning-rate than {learning_rate}") from None
        if stopped():
            raise KeyboardInterrupt(f"Saved at step {trainer.step:,}: run the same command again to go on.")
    if not result:
        evaluate()
    _warn(health.plateau_warning(result["loss"], entropy))
    with run_folder.whole(to / "backbone.weights.h5") as path:
        backbone.save_weights(path)
    with run_folder.whole(to / "masked_lm.weights.h5") as path:
        model.save_weights(path)
    run_folder.save_config(to, "masked_lm", family="bert", model=dataclasses.asdict(config), options=options,
                           steps=trainer.step, seconds=trainer.seconds, **result)
    console.print(f"saved {to}: {trainer.step:,} steps in {trainer.seconds / 60:.1f} minutes, held-out loss {result['loss']:.3f}. "
                  f"Next: fromzero finetune --backbone {to} …")
    return {**result, "steps": trainer.step, "seconds": trainer.seconds}


def _claim(folder, options, tokenizer):
    """Takes a new run folder, or one that the same command has begun.

    Raises:
        ValueError: the folder holds something else.
    """
    from models.run_folder import write_json

    path = folder / "options.json"
    if (folder / "config.json").exists():
        raise ValueError(f"--to must be a new folder. Received: {folder}, which holds a finished training")
    if path.exists():
        begun = json.loads(path.read_text(encoding="utf-8"))
        changed = [name for name in options if options[name] != begun.get(name)]
        if changed:
            raise ValueError(f"{folder} holds a training begun with other options ({', '.join(changed)}). "
                             "Give the same ones to go on, or choose another folder")
        return
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"--to must be a new folder. Received: {folder}, which holds other files")
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(folder / "tokenizer.json")
    write_json(path, options)


def _units(budget, share):
    """A share of the budget in what the progress bar counts: steps or seconds."""
    return share * (budget.steps or budget.seconds)


def _bar(budget, trainer):
    total = budget.steps or budget.seconds
    return progress_bar("pretrain", total, "steps" if budget.steps else "s")


def _warn(message):
    if message:
        console.print(f"warning: {message}", style="yellow", markup=False)


def guesses(model, tokenizer, batch, count=3, tokens=24):
    """A few held-out sentences with the model's best guess at each masked place.

    Args:
        model: a masked LM.
        batch: what `data.masking.mask_rows` returns.

    Returns:
        list of strings; `[guess]` where the guess is right, `[guess|what stood there]` where not.
    """
    first = {name: value[:count] for name, value in batch.items()}
    inputs = {name: first[name] for name in ("token_ids", "segment_ids", "mask_positions")}
    best = np.argmax(model(inputs, training=False), axis=-1)  # (count, M)
    lines = []
    for row in range(count):
        pieces = [tokenizer.vocabulary[token] for token in first["token_ids"][row].numpy()]
        for place, label, guess, weight in zip(*(np.asarray(first[name][row]) for name in ("mask_positions", "labels")),
                                               best[row], first["sample_weight"][row]):
            if weight:
                truth, guessed = tokenizer.vocabulary[label], tokenizer.vocabulary[guess]
                pieces[place] = f"[{guessed}]" if truth == guessed else f"[{guessed}|{truth}]"
        lines.append("".join(pieces[1:tokens]).replace("▁", " ").strip())
    return lines
