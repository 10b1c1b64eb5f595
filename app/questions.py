"""Questions, texts and answers in, an encoder that finds the answers in the texts out."""

import dataclasses
from pathlib import Path
from typing import Literal

from app.terminal import (as_tuple, check_at_least, check_learning_rate, check_share, console, load_tensorflow,
                          progress_bar, warn)

VOCABULARY_SIZE = 8192
# SQuAD, an encoder of 4 × 128, 2,500 batches, share of held-out answers that are found to the token: 1e-3 .300, 2e-3
# .328, 4e-3 .354, 8e-3 .342 (one run each; "SQuAD" in benchmarks/findings.md).
LEARNING_RATE = 4e-3
LARGEST_VALIDATION = 1000  # questions of the data, if no others are given


def questions(
    *,
    data: tuple[str, ...],
    to: Path,
    backbone: str = "none",
    question_column: str | None = None,
    context_column: str | None = None,
    answer_column: str | None = None,
    validation: tuple[str, ...] = (),
    size: str = "tiny",
    vocabulary_size: int | None = None,
    sequence_length: int = 384,
    answer_length: int = 48,
    minutes: float | None = None,
    steps: int | None = None,
    batch_size: int = 32,
    precision: Literal["float32", "bfloat16", "float16"] | None = None,
    learning_rate: float = LEARNING_RATE,
    layer_decay: float = 0.9,
    dropout: float = 0.1,
    checkpoint_every: int = 200,
    seed: int = 0,
    max_skipped: int = 1000,
) -> dict:
    """Trains an encoder to find the answers to questions in texts. The same command again goes on where it stopped.

    Args:
        data: SQuAD's JSON (1.1, 2.0, CMRC 2018; also .gz), or tables with the columns question, context and answer; an
            empty answer = the text has none, and a column answer_start may say where the answer stands.
        to: the run folder, for example runs/answers.
        backbone: the run folder of a pretraining, or of questions to go on from, such as those that `clozes` makes; none
            = train from scratch.
        question_column: of a table; found by its name if not given.
        context_column: of a table, the text; found by its name if not given.
        answer_column: of a table; found by its name if not given.
        validation: sources to measure by; a twentieth of the data, whole articles, about 1000 questions at most, if not
            given.
        size: the encoder's when it is trained from scratch: tiny (2 layers × 128), mini (4 × 256), small (4 × 512),
            medium (8 × 512) or base (12 × 768).
        vocabulary_size: of a tokenizer trained here; 8192 if not given.
        sequence_length: tokens of a question and a window of its text; of a longer text all is read, window by window.
            Independent of the backbone's, which it may exceed.
        answer_length: the longest answer that is given, in tokens.
        minutes: train for so long; time spent before an interruption counts. Default 10, unless steps are given.
        steps: train for so many updates instead.
        batch_size: windows in a batch.
        precision: of the products; weights are float32 always. Default bfloat16 where GPU or CPU are fast in it, else
            float32.
        learning_rate: the highest one; it rises over the first 6 % of the budget and falls to 0.
        layer_decay: each layer learns at this multiple of the rate of the layer above it (pretrained backbones).
        dropout: share of activations dropped in training.
        checkpoint_every: steps between two checkpoints.
        seed: of the initial weights, the split and the order of the windows.
        max_skipped: stop after so many unreadable rows, those whose answer does not stand in the text among them.
    """
    check_at_least(1, batch_size=batch_size, answer_length=answer_length, checkpoint_every=checkpoint_every)
    check_at_least(16, sequence_length=sequence_length)
    check_at_least(0, seed=seed)
    check_learning_rate(learning_rate)
    check_share(dropout=dropout)
    if not 0 < layer_decay <= 1:
        raise ValueError(f"--layer-decay must be above 0 and at most 1. Received: {layer_decay}")
    if backbone != "none" and (size != "tiny" or vocabulary_size is not None):
        raise ValueError("a backbone brings its own shape and tokenizer: leave out --backbone, or --size and "
                         "--vocabulary-size")
    to, data, validation = Path(to), as_tuple(data), as_tuple(validation)
    from models.run_folder import check_free, load_config

    check_free(to)
    pretrained = None if backbone == "none" else load_config(backbone, "masked_lm", "span")
    load_tensorflow()
    import keras

    from app.answerer import build_model
    from app.history import History, answered
    from app.training import budget_of, claim, resume, train
    from data.sources import SkippedRows, fingerprint
    from data.tokenizer import Tokenizer
    from data.vocabulary import train_tokenizer
    from data.windows import encode_questions
    from models import run_folder
    from models.config import TransformerConfig, from_dict, transformer_config
    from models.finetuning_optimizers import LayerwiseAdamW, depths
    from models.precision import computing_in
    from models.trainer import Trainer, fast_precision

    budget = budget_of(minutes, steps)
    skipped = SkippedRows(max_skipped)
    columns = {"question_column": question_column, "context_column": context_column, "answer_column": answer_column}
    examples, held_out, repeated = _read(data, validation, columns, seed, skipped)
    always_answers = all(example.answers for example in examples)

    tokenizer = (Path(backbone) if pretrained else to) / "tokenizer.json"  # the latter of a training to go on with
    reader = Tokenizer.load(tokenizer) if tokenizer.exists() else train_tokenizer(
        dict.fromkeys(text for example in examples for text in (example.context, example.question)),
        vocabulary_size or VOCABULARY_SIZE)
    config = (from_dict(TransformerConfig, pretrained["model"]) if pretrained else
              transformer_config(size, vocabulary_size=reader.vocabulary_size, sequence_length=sequence_length))
    config = dataclasses.replace(config, dropout=dropout)
    precision = precision or fast_precision()
    options = {"data": [*map(fingerprint, data)], "validation": [*map(fingerprint, validation)], **columns,
               "backbone": pretrained and pretrained["sha256"], "vocabulary_size": vocabulary_size or VOCABULARY_SIZE,
               "tokenizer": reader.sha256, "model": dataclasses.asdict(config), "sequence_length": sequence_length,
               "batch_size": batch_size, "precision": precision, "learning_rate": learning_rate,
               "layer_decay": layer_decay, "seed": seed, "budget": dataclasses.asdict(budget)}
    claim(to, options, reader)

    with progress_bar("encode", len(examples) + len(held_out), "questions") as advance:
        rows, held_out_rows = (encode_questions(reader, part, sequence_length, advance)
                               for part in (examples, held_out))
    mean_length = sum(map(len, rows.rows)) / len(rows)
    console.print(f"{len(examples):,} questions to train on, {len(rows):,} windows of {mean_length:.1f} tokens on "
                  f"average; {len(held_out):,} questions to measure by"
                  + ("" if always_answers else
                     f"; without an answer: {sum(not example.answers for example in examples):,}")
                  + (f"; {repeated:,} questions left out whose text is measured by" if repeated else "")
                  + (f"; skipped: {skipped}" if skipped.total else ""), markup=False)
    if long := (rows.labels[:, 1] - rows.labels[:, 0] >= answer_length).sum():
        warn(f"{long:,} of {len(rows):,} windows hold an answer of more than {answer_length} tokens, as none will be "
             "given; see --answer-length")

    keras.utils.set_random_seed(seed)
    with computing_in(precision):
        start = pretrained and {"masked_lm": "backbone.weights.h5", "span": "span.weights.h5"}[pretrained["kind"]]
        model = build_model(config, dropout, start and Path(backbone) / start)
    optimizer = LayerwiseAdamW(learning_rate, depths(model, config.num_layers), layer_decay if pretrained else 1.0)
    trainer = Trainer(model, optimizer, learning_rate, averaging=True)
    losses = resume(to, trainer)
    console.print(f"encoder {config.num_layers} × {config.hidden_dim}, {model.count_params():,} parameters, {precision}, "
                  + (f"from {backbone}" if pretrained else "from scratch")
                  + (f"; going on at step {trainer.step:,}" if trainer.step else ""), markup=False)
    history = History(to, trainer, reader, list(held_out_rows.in_order_of_length(2 * batch_size)),
                      int(batch_size * mean_length), losses, answered)
    result = train(to, trainer, rows.endless(batch_size, seed, step=trainer.step), budget, history, checkpoint_every)
    with run_folder.whole(to / "span.weights.h5") as path, trainer.averaged():
        model.save_weights(path)
    run_folder.save_config(to, "span", model=dataclasses.asdict(config), sequence_length=sequence_length,
                           answer_length=answer_length, always_answers=always_answers, options=options, **result)
    console.print(f"saved {to}: {trainer.step:,} steps in {trainer.seconds / 60:.1f} minutes, held-out loss "
                  f'{result["validation_loss"]:.3f}. Next: fromzero predict {to} "a question" "a text"', markup=False)
    return result


def _read(data, validation, columns, seed, skipped):
    """Reads the questions to train on and those to measure by.

    Returns:
        The two lists, and how many of the first were left out because their text stands in the second.

    Raises:
        ValueError: too few questions.
    """
    from data.questions import learnable, read_questions, split

    examples = learnable(read_questions(data, skipped, **columns), skipped)
    if validation:
        held_out = learnable(read_questions(validation, skipped, **columns), skipped)
    else:
        examples, held_out = split(examples, LARGEST_VALIDATION, seed)
    measured_by = {example.context for example in held_out}
    kept = [example for example in examples if example.context not in measured_by]
    if not kept or not held_out:
        raise ValueError("training needs questions whose answers stand in their texts, and others to measure by, with "
                         f"texts of their own. Received: {len(kept)} and {len(held_out)}; skipped: {skipped}")
    return kept, held_out, len(examples) - len(kept)
