"""A causal language model and texts in, how well it foretells them out: per token, word and character."""

import math

import numpy as np
import tensorflow as tf

from app.generator import load_generator
from app.terminal import console, progress_bar, show_report
from data.batching import padded
from data.corpus import in_batches
from data.sources import SkippedRows, read_texts
from data.tokenizer import CLS, PAD, SEP, UNK
from models.halves import in_halves
from models.losses import cross_entropy
from models.run_folder import write_json

BATCH_ROWS = 32
BATCH_CHARACTERS = 1 << 16  # encoded at once


def evaluate_generator(run, identity, json_path, max_skipped):
    """What `app.evaluate.evaluate` does with a GPT: measures, writes the JSON, shows it.

    Args:
        run: its folder.
        identity: dict with "data", "text_column" and "whole_files", as `evaluate` takes them.
        json_path: the file to write.
        max_skipped: as `evaluate` takes it.

    Returns:
        What the JSON file holds: the run, `identity` and what `perplexity` returns.
    """
    generator = load_generator(run)
    skipped = SkippedRows(max_skipped)
    texts = read_texts(identity["data"], skipped, identity["text_column"], whole_files=identity["whole_files"])
    with progress_bar("evaluate", unit="texts") as advance:
        measured = perplexity(generator, texts, progress=advance)
    evaluation = {"run": str(run), **identity, "skipped": dict(skipped.counts), **measured}
    write_json(json_path, evaluation)
    console.print("{n_examples:,} texts, {tokens:,} tokens, {words:,} words, {characters:,} characters; {unknown:,} tokens "
                  "are [UNK]\n"
                  "loss {loss:.4f} nats a token, perplexity {perplexity:.2f} of a token, {word_perplexity:.4g} of a word, "
                  "{bits_per_character:.3f} bits a character".format(**measured), markup=False)
    show_report(skipped, json_path)
    return evaluation


def perplexity(generator, texts, progress=None):
    """Measures how well a model foretells texts.

    The end of each text is foretold as well, and counts as a word and a character. A text longer than the model sees is
    read in windows that overlap by half, and every token counts once, in the window where most stands before it. Words
    and characters are those of the text as the tokenizer reads it, so that models can be compared whose tokenizers cut
    differently; not models of which one reads lower case, or no ends of lines.

    Args:
        generator: `app.generator.Generator`.
        texts: cleaned strings, as `data.sources.read_texts` gives them; empty ones count nothing.
        progress: called with the number of texts read since the last call.

    Returns:
        dict: "n_examples", "tokens", "words", "characters" and "unknown", which are counts; "loss" in nats a token,
        "perplexity" of a token, "word_perplexity", "bits_per_character"; "lower_case", whether the tokenizer reads so.
        What is [UNK] counts with the probability of [UNK], which is more than that of what stood there.

    Raises:
        ValueError: there is no text.
    """
    tokenizer, graph = generator.tokenizer, _graph(generator.model)
    counts = dict.fromkeys(("n_examples", "tokens", "words", "characters", "unknown"), 0)
    total, rows = 0.0, []  # nats
    for batch in in_batches(texts, BATCH_CHARACTERS):
        texts_read = [text for text in tokenizer.normalize(tf.constant(batch)).numpy() if text]
        for text, token_ids in zip(texts_read, tokenizer.encode(tf.constant(texts_read, tf.string))):
            text, token_ids = text.decode(), token_ids.numpy()
            for name, count in (("n_examples", 1), ("tokens", len(token_ids) + 1), ("words", len(text.split()) + 1),
                                ("characters", len(text) + 1), ("unknown", int((token_ids == UNK).sum()))):
                counts[name] += count
            rows += windows(token_ids, generator.sequence_length)
        while len(rows) >= BATCH_ROWS:
            total += _sum_of_losses(graph, rows[:BATCH_ROWS])
            del rows[:BATCH_ROWS]
        if progress:
            progress(len(batch))
    if not counts["n_examples"]:
        raise ValueError("there must be text to measure by. Received: none, or empty lines alone")
    if rows:
        total += _sum_of_losses(graph, rows)
    return {**counts, "loss": total / counts["tokens"], "perplexity": _exp(total / counts["tokens"]),
            "word_perplexity": _exp(total / counts["words"]),
            "bits_per_character": total / counts["characters"] / math.log(2), "lower_case": tokenizer.lower_case}


def windows(token_ids, length):
    """One text as rows that begin with [CLS], as the rows of training do.

    Args:
        token_ids: int (n,), without special tokens.
        length: L, of a row at most.

    Returns:
        list of (token_ids, labels int32 (l,), counts bool (l,)), l ≤ L: in all rows together, each token and the [SEP] at
        the end counts once.
    """
    labels = np.append(token_ids, SEP).astype(np.int32)
    stride = length // 2
    rows = []
    for start in range(0, max(len(labels) - length, 0) + stride, stride):
        part = labels[start : start + length]
        rows.append((np.append(CLS, part[:-1]).astype(np.int32), part,
                     np.arange(len(part)) >= (length - stride if start else 0)))
    return rows


def _graph(model):
    """(token_ids, labels int32 (B, L), counts bool (B, L)) → the sum of the losses that count, in nats."""

    def losses(rows):
        inputs = {name: rows[name] for name in ("token_ids", "segment_ids")}
        return cross_entropy(rows["labels"], model(inputs, training=False))

    @tf.function(autograph=False, reduce_retracing=True)
    def graph(token_ids, labels, counts):
        rows = {"token_ids": token_ids, "segment_ids": tf.cast(token_ids != PAD, tf.int32), "labels": labels}
        return tf.reduce_sum(tf.where(counts, in_halves(losses, rows), 0.0))

    return graph


def _sum_of_losses(graph, rows):
    token_ids, labels, counts = map(padded, zip(*rows))
    return float(graph(token_ids, labels, counts > 0))


def _exp(nats):
    return math.exp(min(nats, 700.0))
