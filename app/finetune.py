"""Labelled text and a backbone in, a classifier's run folder out."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Literal

from app.terminal import (as_tuple, check_at_least, check_learning_rate, check_share, console, load_tensorflow,
                          progress_bar, warn)

VOCABULARY_SIZES = {"encoder": 8192, "committee": 8192, "baseline": 30_000}


def finetune(
    *,
    data: tuple[str, ...],
    to: Path,
    task: Literal["sentiment", "topic", "spam", "classify"] = "classify",
    backbone: str = "none",
    fresh: bool = False,
    adapt_minutes: float = 0.0,
    model: Literal["encoder", "baseline", "committee"] = "encoder",
    tokenizer: Path | None = None,
    validation: tuple[str, ...] = (),
    validation_share: float = 0.1,
    labels: int | None = None,
    unlabelled: tuple[str, ...] = (),
    rounds: int = 2,
    text_column: str | None = None,
    pair_column: str | None = None,
    label_column: str | None = None,
    sequence_length: int = 128,
    num_epochs: int = 3,
    minimum_steps: int | None = None,
    batch_size: int = 32,
    learning_rate: float | None = None,
    layer_decay: float = 0.9,
    dropout: float = 0.1,
    ngrams: int = 0,
    longest_ngram: Literal[2, 3] = 2,
    balance: bool = False,
    patience: int = 5,
    seeds: int = 1,
    seed: int = 0,
    size: str = "tiny",
    vocabulary_size: int | None = None,
    max_skipped: int = 1000,
) -> dict:
    """Trains a classifier on labelled text, from a pretrained backbone or from scratch.

    Args:
        data: labelled sources: files, globs, folders, tfds:NAME[:split] or sample:NAME[:split].
        to: the run folder to make, for example runs/sentiment.
        task: names the classes the usual way (sentiment: negative and positive, spam: ham and spam); classify takes any.
        backbone: the run folder of a pretraining; hub:PRESET for public weights of BERT, DistilBERT or ELECTRA that
            KerasHub has, by name, as hf://OWNER/NAME or as a folder; or none to train from scratch.
        fresh: take only the shape and the tokenizer of the backbone, not its weights: shows what pretraining is worth.
        adapt_minutes: first go on with the backbone's pretraining on these texts, labelled and unlabelled, for so long.
        model: the Transformer encoder; the simple baseline (Embedding + GlobalAveragePooling + Dense); or a committee
            of encoders (as many as seeds), a bag of n-grams and document vectors of the unlabelled texts or, if there
            are none, a linear classifier of n-grams: the most accurate, and the slowest.
        tokenizer: a tokenizer.json for training from scratch; one is trained on the texts if not given.
        validation: labelled sources to stop by, whose texts are not learned from; a share of the data if not given.
        validation_share: that share; 0 = train on every label, for all steps, and keep the last weights.
        labels: train on only so many, the classes as even as possible; those to stop by come on top.
        unlabelled: for a committee or --adapt-minutes, sources of texts like those to classify; labels are not read.
        rounds: how often a committee labels the unlabelled texts and learns from those it is surest of: 0, 1 or 2.
        text_column: the column that holds the text; found by its name if not given.
        pair_column: the column that holds the second text, for pairs.
        label_column: the column that holds the label; found by its name if not given.
        sequence_length: the longest text in tokens; of a longer one the beginning and the end are read. It may exceed
            the backbone's: the text is then read in several segments. A pair is one segment.
        num_epochs: passes over the data.
        minimum_steps: with few labels, repeat the passes up to this many steps; 300, of the baseline 1000 short ones.
        batch_size: examples in a batch.
        learning_rate: the highest one; chosen by the kind of model if not given.
        layer_decay: each layer learns at this multiple of the rate of the layer above it (pretrained backbones).
        dropout: for the encoder, share of activations dropped in training.
        ngrams: for the baseline, rows that hashed pairs of tokens share, for example 500000; 0 = none.
        longest_ngram: 3 adds triples: for Chinese, of which the baseline's own tokenizer makes characters.
        balance: weight the classes so that each counts the same.
        patience: stop after so many evaluations without improvement.
        seeds: train so many times; mean and spread are reported, the best by validation is kept.
        seed: the first seed.
        size: the encoder's size when it is trained from scratch.
        vocabulary_size: of a tokenizer trained here; 8192, of the baseline 30000: whole words.
        max_skipped: stop after so many unreadable rows.
    """
    to, data, validation, unlabelled = Path(to), as_tuple(data), as_tuple(validation), as_tuple(unlabelled)
    if to.exists():
        raise ValueError(f"--to must be a new folder. Received: {to}, which exists")
    check_at_least(1, batch_size=batch_size, num_epochs=num_epochs, patience=patience, seeds=seeds)
    check_at_least(8, sequence_length=sequence_length)
    check_at_least(0, seed=seed, ngrams=ngrams)
    check_share(validation_share=validation_share)
    if learning_rate is not None:
        check_learning_rate(learning_rate)
    if not 0 < layer_decay <= 1:
        raise ValueError(f"--layer-decay must be above 0 and at most 1. Received: {layer_decay}")
    if not 0 <= adapt_minutes < float("inf") or (adapt_minutes and (backbone == "none" or fresh)):
        raise ValueError("--adapt-minutes must be 0 or more, and goes on with the training of a --backbone. "
                         f"Received: {adapt_minutes}")
    from_hub = backbone.startswith("hub:")
    if adapt_minutes and from_hub:
        raise ValueError("--adapt-minutes goes on with a pretraining made here: a backbone of KerasHub comes without "
                         f"its masked LM. Received: {backbone}; leave one of the two out")
    if unlabelled and (pair_column or (model != "committee" and not adapt_minutes)):
        raise ValueError("--unlabelled belongs to --model committee and --adapt-minutes, of single texts")
    if not 0 <= rounds <= 2:
        raise ValueError(f"--rounds must be 0, 1 or 2. Received: {rounds}")
    if (ngrams and model != "baseline") or (longest_ngram > 2 and not ngrams):
        raise ValueError("--ngrams belongs to --model baseline, and --longest-ngram to --ngrams")
    if vocabulary_size is not None:
        check_at_least(1, vocabulary_size=vocabulary_size)
        if tokenizer or backbone != "none":
            raise ValueError("--vocabulary-size is of a tokenizer trained here: leave it out beside --tokenizer or --backbone")
    if fresh and backbone == "none":
        raise ValueError("--fresh takes the shape of a backbone: name it with --backbone")
    if model == "baseline" and size != "tiny":
        raise ValueError(f"--size is of an encoder: leave it out beside --model baseline. Received: {size}")
    if backbone != "none" and (tokenizer or model == "baseline" or size != "tiny"):
        raise ValueError("a backbone brings its own shape and tokenizer: leave out --backbone, or --model baseline, "
                         "--tokenizer and --size")
    load_tensorflow()
    import numpy as np

    from app.adaptation import adapt
    from app.classifier import describe_committee, describe_model, save_classifier
    from app.committee import train_committee
    from app.hub import take_over
    from app.labelled_texts import training_examples
    from app.members import HUB_LEARNING_RATE, LEARNING_RATES, MINIMUM_STEPS, Plan, train_seeds
    from data.batching import encode_all
    from data.sources import SkippedRows, read_texts
    from data.tasks import Examples, class_weights
    from data.tokenizer import Tokenizer
    from data.vocabulary import train_tokenizer
    from models.run_folder import load_config
    from models.trainer import Budget, stop_signals

    skipped = SkippedRows(max_skipped)
    columns = {"text_column": text_column, "pair_column": pair_column, "label_column": label_column}
    examples, held_out, left_out = training_examples(data, validation, validation_share, labels, task, columns, seed,
                                                     skipped)
    if held_out is None:
        held_out, patience = examples, None
    if not len(held_out):
        raise ValueError("validation needs at least one example. Give more data, --validation or --validation-share 0")
    seen = {*examples.texts, *held_out.texts, ""}
    others = [text for text in dict.fromkeys(read_texts(unlabelled, skipped, text_column)) if text not in seen]
    console.print(f"{len(examples):,} examples to train on, {0 if patience is None else len(held_out):,} to stop by; "
                  f"classes {', '.join(examples.label_names)}"
                  + (f"; {len(others):,} unlabelled texts" if others else "")
                  + "".join(f"; {reason}" for reason in left_out)
                  + (f"; skipped: {skipped}" if skipped.total else ""), markup=False)

    pretrained = None
    if from_hub:
        reader, pretrained, encoder = take_over(backbone)
    elif backbone != "none":
        pretrained = load_config(backbone, "masked_lm")
        reader = Tokenizer.load(Path(backbone) / "tokenizer.json")
    elif tokenizer:
        reader = Tokenizer.load(tokenizer)
    else:
        reader = train_tokenizer([*examples.texts, *(examples.pairs or [])], vocabulary_size or VOCABULARY_SIZES[model],
                                 for_bag=model == "baseline")
    shape = describe_model(model, pretrained, size, dropout, sequence_length, reader.vocabulary_size,
                           len(examples.label_names), num_buckets=ngrams, longest_ngram=longest_ngram)
    if model == "committee":
        shape = describe_committee(shape, seeds, len(examples.label_names), bool(others))
    described = {"task": task, "label_names": list(examples.label_names), "takes_pairs": pair_column is not None,
                 "sequence_length": sequence_length, "classifier_dropout": dropout, **shape}
    if pair_column and sequence_length > described["segment_length"]:
        warn(f"a pair is read in one segment, of {described['segment_length']} tokens at most")
    kind = "baseline" if model == "baseline" else "scratch" if fresh or backbone == "none" else "pretrained"
    usual_rate = HUB_LEARNING_RATE / pretrained["model"]["hidden_dim"] if from_hub else LEARNING_RATES[kind]
    rate = usual_rate if learning_rate is None else learning_rate
    plan = Plan(kind, rate, num_epochs, MINIMUM_STEPS[kind] if minimum_steps is None else minimum_steps, batch_size,
                patience, backbone, layer_decay if kind == "pretrained" else 1.0,
                class_weights(examples.labels, len(examples.label_names)) if balance else None)

    def encode(part):
        with progress_bar("encode", len(part), "texts") as advance:
            return encode_all(reader, part, sequence_length, described["segment_length"], advance)

    encoded = encode(examples)
    encoded_held_out = encoded if held_out is examples else encode(held_out)
    with stop_signals() as stopped, tempfile.TemporaryDirectory() as adapted:
        if from_hub:
            encoder.save_weights(Path(adapted) / "backbone.weights.h5")
            plan = dataclasses.replace(plan, backbone=adapted)
        if adapt_minutes:
            texts = [*examples.texts, *(examples.pairs or []), *others]
            adapt(backbone, texts, reader, Budget(seconds=60 * adapt_minutes), adapted, seed, stopped)
            if stopped():
                raise KeyboardInterrupt("Nothing is saved: no label has been learned yet.")
            plan = dataclasses.replace(plan, backbone=adapted)
        if model == "committee":
            classifier, history, result = train_committee(
                described, [plan] * seeds + [plan.of_bag()], encoded, None if patience is None else encoded_held_out,
                encode(Examples(others, None, np.zeros(len(others), np.int32), examples.label_names)), rounds,
                [*range(seed, seed + seeds), seed], stopped)
        else:
            classifier, history, result = train_seeds(described, plan, encoded, encoded_held_out,
                                                      range(seed, seed + seeds), stopped)
    save_classifier(to, classifier, reader, history,
                    {**described, "backbone": backbone, "adapt_minutes": adapt_minutes, "learning_rate": rate,
                     "num_epochs": num_epochs, "batch_size": batch_size, "num_examples": len(examples), **result})
    trained = len(result["seeds"])
    spread = (f" ± {result['validation_accuracy_sd']:.3f} over {trained} seeds"
              if trained > 1 and model != "committee" else "")
    console.print(f"saved {to}: {'training' if patience is None else 'validation'} accuracy "
                  f"{result['validation_accuracy']:.3f}{spread}. "
                  f"Next: fromzero evaluate {to} --data …", markup=False)
    if stopped():
        raise KeyboardInterrupt(f"The best weights so far are in {to}; to train longer, give another --to.")
    return result
