"""Labelled text and a backbone in, a classifier's run folder out."""

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from app.terminal import console, load_tensorflow, progress_bar

# Highest learning rates, chosen on validation splits.
LEARNING_RATES = {"baseline": 5e-3, "scratch": 1e-3, "pretrained": 5e-4}


def finetune(
    *,
    data: tuple[str, ...],
    to: Path,
    task: Literal["sentiment", "topic", "spam", "classify"] = "classify",
    backbone: str = "none",
    model: Literal["encoder", "baseline"] = "encoder",
    tokenizer: Path | None = None,
    validation: tuple[str, ...] = (),
    validation_share: float = 0.1,
    labels: int | None = None,
    text_column: str | None = None,
    pair_column: str | None = None,
    label_column: str | None = None,
    sequence_length: int = 128,
    num_epochs: int = 3,
    minimum_steps: int = 300,
    batch_size: int = 32,
    learning_rate: float | None = None,
    layer_decay: float = 0.9,
    dropout: float = 0.1,
    ngrams: int = 0,
    balance: bool = False,
    patience: int = 5,
    seeds: int = 1,
    seed: int = 0,
    size: str = "tiny",
    vocabulary_size: int = 8192,
    max_skipped: int = 1000,
) -> dict:
    """Trains a classifier on labelled text, from a pretrained backbone or from scratch.

    Args:
        data: labelled sources: files, globs, folders, tfds:NAME[:split] or sample:NAME[:split].
        to: the run folder to make, for example runs/sentiment.
        task: names the classes the usual way (sentiment: negative and positive, spam: ham and spam); classify takes any.
        backbone: the run folder of a pretraining, or none to train from scratch.
        model: the Transformer encoder, or the simple baseline (Embedding + GlobalAveragePooling + Dense).
        tokenizer: a tokenizer.json for training from scratch; one is trained on the texts if not given.
        validation: labelled sources to stop by; a share of the data if not given.
        validation_share: that share.
        labels: use only so many labels, the classes as even as possible.
        text_column: the column that holds the text; found by its name if not given.
        pair_column: the column that holds the second text, for pairs.
        label_column: the column that holds the label; found by its name if not given.
        sequence_length: the longest text in tokens; of a longer one the beginning and the end are read.
        num_epochs: passes over the data.
        minimum_steps: with few labels, repeat the passes up to this many steps.
        batch_size: examples in a batch.
        learning_rate: the highest one; chosen by the kind of model if not given.
        layer_decay: each layer learns at this multiple of the rate of the layer above it (pretrained backbones).
        dropout: share of activations dropped in training.
        ngrams: for the baseline, rows in the table of hashed pairs of tokens; 0 = none.
        balance: weight the classes so that each counts the same.
        patience: stop after so many evaluations without improvement.
        seeds: train so many times; mean and spread are reported, the best by validation is kept.
        seed: the first seed.
        size: the encoder's size when it is trained from scratch.
        vocabulary_size: of a tokenizer trained here.
        max_skipped: stop after so many unreadable rows.
    """
    if to.exists():
        raise ValueError(f"--to must be a new folder. Received: {to}, which exists")
    load_tensorflow()
    from data.sources import SkippedRows
    from data.tasks import few_labels, read_examples, split, without_duplicates
    from data.tokenizer import Tokenizer
    from data.vocabulary import train_tokenizer
    from models.run_folder import load_config

    skipped = SkippedRows(max_skipped)
    columns = {"text_column": text_column, "pair_column": pair_column, "label_column": label_column}
    examples, repeated = without_duplicates(read_examples(data, task, skipped, **columns))
    if validation:
        held_out = read_examples(validation, task, skipped, label_names=examples.label_names, **columns)
    else:
        examples, held_out = split(examples, validation_share, seed)
    if labels:
        examples = few_labels(examples, labels, seed)
    console.print(f"{len(examples):,} examples to train on, {len(held_out):,} to stop by; classes "
                  f"{', '.join(examples.label_names)}" + (f"; {repeated:,} repeated texts left out" if repeated else "")
                  + (f"; skipped: {skipped}" if skipped.total else ""), markup=False)
    if backbone != "none":
        load_config(backbone, "masked_lm")
        tokenizer = Path(backbone) / "tokenizer.json"
    if tokenizer:
        reader = Tokenizer.load(tokenizer)
    else:
        reader = train_tokenizer([*examples.texts, *(examples.pairs or [])], vocabulary_size)
    return fit(
        examples, held_out, reader, to=to, task=task, backbone=backbone, model=model, sequence_length=sequence_length,
        num_epochs=num_epochs, minimum_steps=minimum_steps, batch_size=batch_size, learning_rate=learning_rate,
        layer_decay=layer_decay, dropout=dropout, ngrams=ngrams, balance=balance, patience=patience, seeds=seeds,
        seed=seed, size=size)


def fit(train, validation, tokenizer, *, to, task="classify", backbone="none", model="encoder", sequence_length=128,
        num_epochs=3, minimum_steps=300, batch_size=32, learning_rate=None, layer_decay=0.9, dropout=0.1, ngrams=0,
        balance=False, patience=5, seeds=1, seed=0, size="tiny", encoder=None):
    """The second half of `finetune`, for examples already in memory.

    Args:
        train, validation: `data.tasks.Examples` with the same label names.
        tokenizer: `Tokenizer`; that of the backbone if there is one.
        encoder: `EncoderConfig` to train from scratch, instead of a named `size`.
        The others: as for `finetune`.

    Returns:
        dict: "validation_accuracy" mean, "validation_accuracy_sd", "seeds" (one dict each), "folder".

    Raises:
        ValueError: one class only, or nothing to validate on.
    """
    from app.classifier import build_classifier
    from data.batching import encode_all
    from data.tasks import class_weights
    from models import baseline as baselines
    from models.config import EncoderConfig, encoder_config, from_dict
    from models.finetuning import finetune_classifier
    from models.optimizers import LayerwiseAdamW, depths
    from models.run_folder import append_history, load_config, save_config, whole
    from models.trainer import stop_signals

    num_classes = len(train.label_names)
    sizes = np.bincount(train.labels, minlength=num_classes)
    if np.count_nonzero(sizes) < 2:
        raise ValueError(f"training needs at least two classes. Received: {len(train)} examples, all of "
                         f"{train.label_names[int(np.argmax(sizes))]!r}")
    if not len(validation):
        raise ValueError("validation needs at least one example. Give more data, --validation or a larger "
                         "--validation-share")
    kind = "baseline" if model == "baseline" else "scratch" if backbone == "none" else "pretrained"
    rate = learning_rate or LEARNING_RATES[kind]
    if kind == "baseline":
        config = baselines.BaselineConfig(tokenizer.vocabulary_size, num_classes, num_buckets=ngrams)
    elif kind == "scratch":
        config = encoder or encoder_config(size, vocabulary_size=tokenizer.vocabulary_size,
                                           sequence_length=sequence_length)
        config = dataclasses.replace(config, dropout=dropout)
    else:
        config = dataclasses.replace(from_dict(EncoderConfig, load_config(backbone, "masked_lm")["model"]),
                                     dropout=dropout)
        if sequence_length > config.sequence_length:
            raise ValueError(f"--sequence-length can be at most the backbone's {config.sequence_length}. "
                             f"Received: {sequence_length}")
    described = {"family": "baseline" if kind == "baseline" else "bert", "task": task, "model": dataclasses.asdict(config),
                 "classifier_dropout": dropout, "label_names": list(train.label_names),
                 "takes_pairs": train.pairs is not None, "sequence_length": sequence_length}

    with progress_bar("encode", len(train) + len(validation), "texts") as advance:
        encoded = encode_all(tokenizer, train, sequence_length, advance)
        encoded_validation = encode_all(tokenizer, validation, sequence_length, advance)
    weights = class_weights(train.labels, num_classes) if balance else None

    def build():
        classifier = build_classifier(described)
        if kind == "pretrained":
            classifier.get_layer("backbone").load_weights(Path(backbone) / "backbone.weights.h5")
        if kind == "baseline":
            groups = [classifier.trainable_variables]
        else:
            groups = depths(classifier, config.num_layers)
        decay = layer_decay if kind == "pretrained" else 1.0
        return classifier, LayerwiseAdamW(rate, groups, decay)

    steps_per_epoch = -(-len(encoded) // batch_size)
    runs = []
    with stop_signals() as stopped:
        for number in range(seed, seed + seeds):
            with progress_bar(f"{kind} seed {number}", max(num_epochs * steps_per_epoch, minimum_steps),
                              "steps") as advance:
                runs.append(finetune_classifier(
                    build,
                    lambda seed, epoch: encoded.epoch(batch_size, [seed, epoch], weights),
                    lambda: encoded_validation.in_order_of_length(4 * batch_size),
                    learning_rate=rate, num_epochs=num_epochs, steps_per_epoch=steps_per_epoch,
                    minimum_steps=minimum_steps, patience=patience, seed=number,
                    majority_share=float(np.bincount(validation.labels).max() / len(validation)),
                    on_step=lambda step, steps, loss: advance(1, f"loss {loss:.3f}"), stopped=stopped))
            for note in runs[-1].notes:
                console.print(f"warning: {note}", style="yellow", markup=False)
            if stopped():
                break
    best = max(runs, key=lambda run: (run.validation["accuracy"], -run.validation["loss"]))
    classifier, _ = build()
    classifier.set_weights(best.weights)
    accuracies = [run.validation["accuracy"] for run in runs]
    result = {"validation_accuracy": float(np.mean(accuracies)), "validation_accuracy_sd": float(np.std(accuracies)),
              "seeds": [{"seed": run.seed, **run.validation, "notes": run.notes} for run in runs]}
    with whole(to) as folder:
        folder.mkdir()
        tokenizer.save(folder / "tokenizer.json")
        classifier.save_weights(folder / "classifier.weights.h5")
        for entry in best.history:
            append_history(folder, **entry)
        save_config(folder, "classifier", **described, backbone=str(backbone), learning_rate=rate, num_epochs=num_epochs,
                    batch_size=batch_size, num_examples=len(train), **result)
    spread = f" ± {result['validation_accuracy_sd']:.3f} over {len(runs)} seeds" if len(runs) > 1 else ""
    console.print(f"saved {to}: validation accuracy {result['validation_accuracy']:.3f}{spread}. "
                  f"Next: fromzero evaluate {to} --data …")
    return {**result, "folder": to}
