"""A prepared corpus in, a pretrained model out: masked or causal language modelling or denoising, resumable at every step."""

import dataclasses
from pathlib import Path
from typing import Literal

import tyro

from app.terminal import check_at_least, check_learning_rate, check_share, console, load_tensorflow, warn

LEARNING_RATE = 5e-3
VALIDATION_ROWS = 512  # at most: 10,000 masked tokens, a standard error of 0.03 nats


def pretrain(
    corpus: tyro.conf.Positional[Path],
    /,
    *,
    to: Path,
    objective: Literal["mlm", "clm", "denoise"] = "mlm",
    size: str = "tiny",
    num_layers: int | None = None,
    hidden_dim: int | None = None,
    num_heads: int | None = None,
    intermediate_dim: int | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    batch_size: int = 32,
    accumulate: int = 1,
    precision: Literal["float32", "bfloat16", "float16"] | None = None,
    rematerialise: bool = False,
    learning_rate: float = LEARNING_RATE,
    dropout: float = 0.0,
    checkpoint_every: int = 200,
    seed: int = 0,
) -> dict:
    """Trains a backbone on unlabelled text. The same command again goes on where it stopped.

    Args:
        corpus: a folder that `prepare` made.
        to: the run folder, for example runs/mine.
        objective: mlm makes an encoder (BERT) by hiding tokens, to fine-tune; clm makes a GPT by predicting each next
            token, to generate text; denoise makes an encoder–decoder by hiding spans, for seq2seq to go on from.
        size: tiny (2 layers × 128), mini (4 × 256), small (4 × 512), medium (8 × 512) or base (12 × 768).
        num_layers: instead of the size's own.
        hidden_dim: instead of the size's own.
        num_heads: instead of the size's own.
        intermediate_dim: width inside the feed-forward layers; 4 × hidden_dim if not given.
        minutes: train for so long; time spent before an interruption counts. Default 10, unless steps are given.
        steps: train for so many updates instead.
        batch_size: rows in a batch.
        accumulate: batches to an update: 4 of 32 rows give the update of one of 128 and need the memory of one of 32.
        precision: of the products; weights are float32 always. Default bfloat16 where GPU or CPU are fast in it, else
            float32.
        rematerialise: compute attention twice instead of keeping it: less memory for long rows, the same result.
        learning_rate: the highest one; it rises over the first 6 % of the budget and falls to 0.
        dropout: share of activations dropped in training: 0.1 for a small corpus that is read several times.
        checkpoint_every: steps between two checkpoints.
        seed: of the initial weights, the order of the rows and the masks.
    """
    check_at_least(1, batch_size=batch_size, accumulate=accumulate, checkpoint_every=checkpoint_every)
    check_at_least(0, seed=seed)
    check_learning_rate(learning_rate)
    check_share(dropout=dropout)
    to = Path(to)
    load_tensorflow()
    import numpy as np

    from app.history import History
    from app.objectives import MASK_RATE, OBJECTIVES, build_trainer, start_from_neighbours
    from app.training import budget_of, claim, resume, train
    from data.order import training_rows
    from data.prepared import load_prepared
    from models import health, run_folder
    from models.config import transformer_config
    from models.trainer import fast_precision

    budget = budget_of(minutes, steps)
    prepared = load_prepared(corpus)
    entropy = health.unigram_entropy(prepared.token_counts)
    config = dataclasses.replace(transformer_config(
        size, vocabulary_size=prepared.tokenizer.vocabulary_size, sequence_length=prepared.sequence_length,
        num_layers=num_layers, hidden_dim=hidden_dim, num_heads=num_heads, intermediate_dim=intermediate_dim),
        dropout=dropout)
    precision = precision or fast_precision()
    # What must be the same for a training to go on.
    options = {"corpus": prepared.sha256, "model": dataclasses.asdict(config), "batch_size": batch_size,
               "accumulate": accumulate, "precision": precision, "learning_rate": learning_rate, "seed": seed,
               "objective": objective, "mask_rate": MASK_RATE, "budget": dataclasses.asdict(budget)}
    claim(to, options, prepared.tokenizer)
    console.print(f"corpus {corpus}: {len(prepared.train_rows):,} rows of {prepared.sequence_length} tokens, vocabulary "
                  f"{config.vocabulary_size:,}, unigram entropy {entropy:.2f}", markup=False)
    warn(health.unknown_warning(prepared.unknown_share))

    backbone, trainer = build_trainer(config, learning_rate, seed, objective=objective, precision=precision,
                                      rematerialise=rematerialise, accumulate=accumulate)
    losses = resume(to, trainer)
    chosen = OBJECTIVES[objective]
    console.print(f"{chosen.family} {config.num_layers} × {config.hidden_dim}, {trainer.model.count_params():,} parameters, "
                  + precision + (f"; going on at step {trainer.step:,}" if trainer.step else ""))
    rows = accumulate * batch_size  # of a step: an update, which the trainer takes in parts
    examples = chosen.examples(training_rows(prepared.train_rows, seed, trainer.step, rows), seed,
                               config.vocabulary_size)
    # Spread over the whole file: its rows stand in the order in which the sources were read.
    held_out = np.linspace(0, len(prepared.validation_rows) - 1, min(len(prepared.validation_rows), VALIDATION_ROWS))
    validation = chosen.validation(prepared.validation_rows[held_out.astype(int)], config.vocabulary_size, 64)
    if not trainer.step:
        # Before the vectors go in: they make guesses, and an untrained model should have none.
        warn(health.first_loss_warning(trainer.evaluate(validation[:1])["loss"], config.vocabulary_size))
        start_from_neighbours(backbone, trainer, prepared.train_rows, seed)
    history = History(to, trainer, prepared.tokenizer, validation, rows * prepared.sequence_length, losses,
                      chosen.shown)

    result = train(to, trainer, examples, budget, history, checkpoint_every)
    warn(health.plateau_warning(result["validation_loss"], entropy))
    for part, name in ((backbone, "backbone"), (trainer.model, chosen.kind)):
        with run_folder.whole(to / f"{name}.weights.h5") as path, trainer.averaged():
            part.save_weights(path)
    run_folder.save_config(to, chosen.kind, family=chosen.family, model=dataclasses.asdict(config), options=options,
                           **result)
    following = {"masked_lm": f"finetune --backbone {to} --data … --to runs/…",
                 "causal_lm": f'generate {to} "the beginning of a text"',
                 "denoiser": f"seq2seq --backbone {to} --data … --to runs/…"}[chosen.kind]
    console.print(f"saved {to}: {trainer.step:,} steps in {trainer.seconds / 60:.1f} minutes, held-out loss "
                  f"{result['validation_loss']:.3f}. Next: fromzero {following}", markup=False)
    return result
