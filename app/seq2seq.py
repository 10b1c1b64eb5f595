"""Pairs of texts in, an encoder–decoder that writes one from the other out: translation, summaries, headlines."""

import dataclasses
from pathlib import Path
from typing import Literal

from app.terminal import (as_tuple, check_at_least, check_file, check_learning_rate, check_share, console, load_tensorflow,
                          progress_bar, warn)

VOCABULARY_SIZE = 8192
LEARNING_RATE = 5e-3
SHOWN_TOKENS = 24  # of what is written at an evaluation
LARGEST_VALIDATION = 1000  # pairs of the data, if no others are given


def seq2seq(
    *,
    data: tuple[str, ...],
    to: Path,
    text_column: str | None = None,
    target_column: str | None = None,
    validation: tuple[str, ...] = (),
    backbone: Path | None = None,
    tokenizer: Path | None = None,
    vocabulary_size: int | None = None,
    size: str | None = None,
    num_layers: int | None = None,
    hidden_dim: int | None = None,
    num_heads: int | None = None,
    intermediate_dim: int | None = None,
    source_length: int = 128,
    target_length: int = 128,
    minutes: float | None = None,
    steps: int | None = None,
    batch_size: int = 128,
    precision: Literal["float32", "bfloat16", "float16"] | None = None,
    learning_rate: float = LEARNING_RATE,
    dropout: float = 0.1,
    label_smoothing: float = 0.1,
    checkpoint_every: int = 200,
    seed: int = 0,
    max_skipped: int = 1000,
) -> dict:
    """Trains an encoder–decoder on pairs of texts. The same command again goes on where it stopped.

    Args:
        data: sources with two columns of text: files, globs, folders, tfds:NAME[:split].
        to: the run folder, for example runs/en-de.
        text_column: the column that is read; found by its name if not given.
        target_column: the column that is to be written; found by its name if not given.
        validation: sources to measure by; a twentieth of the data, 1000 pairs at most, if not given.
        backbone: the run folder of `pretrain --objective denoise` to start from, with its shape and tokenizer.
        tokenizer: a tokenizer.json; one is trained on both columns, in their case, if not given.
        vocabulary_size: of a tokenizer trained here; 8192 if not given.
        size: of encoder and decoder each: tiny (2 layers × 128, if not given), mini (4 × 256), small (4 × 512), medium
            (8 × 512) or base (12 × 768).
        num_layers: instead of the size's own, of encoder and decoder each.
        hidden_dim: instead of the size's own.
        num_heads: instead of the size's own.
        intermediate_dim: width inside the feed-forward layers; 4 × hidden_dim if not given.
        source_length: the longest text that is read, in tokens; of a longer one the beginning.
        target_length: the longest text that is written, in tokens.
        minutes: train for so long; time spent before an interruption counts. Default 10, unless steps are given.
        steps: train for so many updates instead.
        batch_size: pairs in a batch, on average: it has room for so many mean pairs, for fewer long or more short ones.
        precision: of the products; weights are float32 always. Default bfloat16 where GPU or CPU are fast in it, else
            float32.
        learning_rate: the highest one; it rises over the first 6 % of the budget and falls to 0.
        dropout: share of activations dropped in training.
        label_smoothing: share of each label that is spread over the whole vocabulary.
        checkpoint_every: steps between two checkpoints.
        seed: of the initial weights, the split and the order of the pairs.
        max_skipped: stop after so many unreadable rows.
    """
    check_at_least(1, batch_size=batch_size, checkpoint_every=checkpoint_every)
    check_at_least(8, source_length=source_length, target_length=target_length)
    check_at_least(0, seed=seed)
    check_learning_rate(learning_rate)
    check_share(dropout=dropout, label_smoothing=label_smoothing)
    if tokenizer and vocabulary_size is not None:
        raise ValueError("--vocabulary-size is of a tokenizer trained here: leave it out beside --tokenizer")
    check_file(tokenizer=tokenizer)
    shape = {"num_layers": num_layers, "hidden_dim": hidden_dim, "num_heads": num_heads,
             "intermediate_dim": intermediate_dim}
    if backbone and (size or tokenizer or vocabulary_size is not None or {*shape.values()} != {None}):
        raise ValueError("a backbone brings its own shape and tokenizer: leave out --backbone, or --size, --num-layers, "
                         "--hidden-dim, --num-heads, --intermediate-dim, --tokenizer and --vocabulary-size")
    to, data, validation, backbone = Path(to), as_tuple(data), as_tuple(validation), backbone and Path(backbone)
    from models import run_folder

    run_folder.check_free(to)
    pretrained = None
    if backbone:
        from app.kinds import kind_of

        kind_of(backbone, "denoiser")
        pretrained, tokenizer = run_folder.load_config(backbone, "denoiser"), backbone / "tokenizer.json"
    load_tensorflow()
    import keras
    import numpy as np

    from app.history import History, written
    from app.training import budget_of, claim, resume, train
    from app.writer import Writer, build_model
    from data.pairs import encode_pairs
    from data.sources import SkippedRows, fingerprint
    from data.tokenizer import Tokenizer
    from data.vocabulary import train_tokenizer
    from models.config import TransformerConfig, from_dict, transformer_config
    from models.optimizers import pretraining_optimizer
    from models.precision import computing_in
    from models.trainer import Trainer, fast_precision

    budget = budget_of(minutes, steps)
    skipped = SkippedRows(max_skipped)
    columns = {"text_column": text_column, "target_column": target_column}
    (texts, targets), held_out, repeated = _read(data, validation, columns, seed, skipped)

    earlier = to / "tokenizer.json"  # of a training to go on with
    reader = Tokenizer.load(tokenizer or earlier) if tokenizer or earlier.exists() else train_tokenizer(
        [*texts, *targets], vocabulary_size or VOCABULARY_SIZE, lower_case=False)
    config = dataclasses.replace(
        from_dict(TransformerConfig, pretrained["model"]) if pretrained else transformer_config(
            size or "tiny", vocabulary_size=reader.vocabulary_size, sequence_length=1, **shape),
        sequence_length=max(source_length, target_length), dropout=dropout)
    precision = precision or fast_precision()
    options = {"data": [*map(fingerprint, data)], "validation": [*map(fingerprint, validation)], **columns,
               "vocabulary_size": vocabulary_size or VOCABULARY_SIZE, "tokenizer": reader.sha256,
               "backbone": pretrained and pretrained["sha256"],
               "model": dataclasses.asdict(config), "source_length": source_length, "target_length": target_length,
               "batch_size": batch_size, "precision": precision, "learning_rate": learning_rate,
               "label_smoothing": label_smoothing, "seed": seed, "budget": dataclasses.asdict(budget)}
    claim(to, options, reader)

    with progress_bar("encode", len(texts) + len(held_out[0]), "pairs") as advance:
        pairs, held_out = (encode_pairs(reader, *part, source_length, target_length, advance)
                           for part in ((texts, targets), held_out))
    longest = np.array([max(len(source), len(target)) for source, target in zip(pairs.sources, pairs.targets)])
    batch_tokens = int(batch_size * longest.mean())
    console.print(f"{len(pairs):,} pairs to train on, {len(held_out):,} to measure by, on average {longest.mean():.1f} tokens"
                  + (f"; {repeated:,} pairs left out whose text is measured by" if repeated else "")
                  + (f"; skipped: {skipped}" if skipped.total else ""), markup=False)
    for side, rows, length in (("text", pairs.sources, source_length), ("target", pairs.targets, target_length)):
        if cut := sum(len(row) == length for row in rows):
            warn(f"{cut:,} of {len(rows):,} pairs have a {side} of {length} tokens or more: its beginning counts")

    keras.utils.set_random_seed(seed)
    with computing_in(precision):
        model = build_model(config)
    trainer = Trainer(model, pretraining_optimizer(learning_rate), learning_rate, label_smoothing=label_smoothing,
                      averaging=True)
    losses = resume(to, trainer)
    if pretrained and not trainer.step:
        model.load_weights(backbone / "denoiser.weights.h5")
    console.print(f"encoder–decoder {config.num_layers} + {config.num_layers} × {config.hidden_dim}, "
                  f"{model.count_params():,} parameters, {precision}"
                  + (f"; going on at step {trainer.step:,}" if trainer.step else ""))
    validation = list(held_out.in_order_of_length(2 * batch_tokens))
    writer = Writer(model, reader, source_length, min(target_length, SHOWN_TOKENS))
    history = History(to, trainer, reader, validation, batch_tokens, losses,
                      lambda model, tokenizer, batch, count: written(writer, batch, count))
    result = train(to, trainer, pairs.endless(batch_tokens, seed, trainer.step), budget, history, checkpoint_every)
    with run_folder.whole(to / "seq2seq.weights.h5") as path, trainer.averaged():
        model.save_weights(path)
    run_folder.save_config(to, "seq2seq", model=dataclasses.asdict(config), source_length=source_length,
                           target_length=target_length, options=options, **result)
    console.print(f"saved {to}: {trainer.step:,} steps in {trainer.seconds / 60:.1f} minutes, held-out loss "
                  f'{result["validation_loss"]:.3f}. Next: fromzero predict {to} "a text"', markup=False)
    return result


def _read(data, validation, columns, seed, skipped):
    """Reads the pairs to train on and those to measure by.

    Returns:
        (texts, targets) to train on; (texts, targets) to measure by; how many of the first were left out because their
        text stands among the second.

    Raises:
        ValueError: too few pairs.
    """
    import numpy as np

    from data.pairs import read_pairs

    pairs = list(zip(*read_pairs(data, skipped, **columns)))
    if validation:
        held_out = list(zip(*read_pairs(validation, skipped, **columns)))
    else:
        count = min(LARGEST_VALIDATION, len(pairs) // 20)
        if not count:
            raise ValueError("a twentieth of the pairs is held out to measure by. Received: "
                             f"{len(pairs)} pairs; give more, or others with --validation")
        order = np.random.default_rng(seed).permutation(len(pairs))
        held_out, pairs = ([pairs[number] for number in numbers] for numbers in (order[:count], order[count:]))
    measured_by = {text for text, _ in held_out}
    kept = [pair for pair in pairs if pair[0] not in measured_by]
    if not kept:
        raise ValueError("training needs a text that is not measured by. Received: every text stands in the validation; "
                         "give other pairs with --validation")
    return tuple(map(list, zip(*kept))), tuple(map(list, zip(*held_out))), len(pairs) - len(kept)
