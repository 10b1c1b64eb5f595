"""A causal language model and texts in, how well it foretells them out: per token, word and character."""

import math

import numpy as np
import tensorflow as tf

from data.tokenizer import CLS, PAD, SEP, UNK

BATCH_ROWS = 32


def perplexity(generator, texts, progress=None):
    """Measures how well a model foretells texts, whatever its tokenizer.

    The end of each text is foretold as well, and counts as a word and a character. A text longer than the model sees is
    read in windows that overlap by half, and every token counts once, in the window where most stands before it.

    Args:
        generator: `app.generator.Generator`.
        texts: cleaned strings, as `data.sources.read_texts` gives them; empty ones count nothing.
        progress: called with the number of texts read since the last call.

    Returns:
        dict: "texts", "tokens", "words", "characters" and "unknown", which are counts; "loss" in nats a token,
        "perplexity" of a token, "word_perplexity", and "bits_per_character". What is [UNK] counts with the probability
        of [UNK], which is more than that of what stood there.

    Raises:
        ValueError: there is no text.
    """
    counts = dict.fromkeys(("texts", "tokens", "words", "characters", "unknown"), 0)
    total = 0.0  # nats
    rows = []
    graph = _graph(generator.model)

    for text in texts:
        if progress:
            progress(1)
        if not text:
            continue
        token_ids = generator.tokenizer.encode(tf.constant([text])).flat_values.numpy()
        counts["texts"] += 1
        counts["tokens"] += len(token_ids) + 1
        counts["words"] += len(text.split()) + 1
        counts["characters"] += len(text) + 1
        counts["unknown"] += int((token_ids == UNK).sum())
        rows += windows(token_ids, generator.sequence_length)
        while len(rows) >= BATCH_ROWS:
            total += _sum_of_losses(graph, rows[:BATCH_ROWS])
            del rows[:BATCH_ROWS]
    if not counts["texts"]:
        raise ValueError("there must be text to measure by. Received: none, or empty lines alone")
    if rows:
        total += _sum_of_losses(graph, rows)
    return {**counts, "loss": total / counts["tokens"], "perplexity": _exp(total / counts["tokens"]),
            "word_perplexity": _exp(total / counts["words"]),
            "bits_per_character": total / counts["characters"] / math.log(2)}


def windows(token_ids, length):
    """One text as rows that begin with [CLS], as the rows of training do.

    Args:
        token_ids: int (n,), without special tokens.
        length: L, of a row.

    Returns:
        list of (token_ids, labels int32 (L,), counts bool (L,)): in all rows together, each token and the [SEP] at the
        end counts once.
    """
    labels = np.append(token_ids, SEP).astype(np.int32)
    stride = length // 2
    rows = []
    for start in range(0, max(len(labels) - length, 0) + stride, stride):
        inputs, wanted = np.full((2, length), PAD, np.int32)
        part = labels[start : start + length]
        wanted[: len(part)] = part
        inputs[0] = CLS
        inputs[1 : len(part)] = part[:-1]
        places = np.arange(length)
        rows.append((inputs, wanted, (places < len(part)) & (places >= (length - stride if start else 0))))
    return rows


def _graph(model):
    """(token_ids, labels int32 (B, L), counts bool (B, L)) → the sum of the losses that count, in nats."""

    @tf.function(autograph=False, reduce_retracing=True)
    def graph(token_ids, labels, counts):
        logits = model({"token_ids": token_ids, "segment_ids": tf.cast(token_ids != PAD, tf.int32)}, training=False)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return tf.reduce_sum(tf.where(counts, losses, 0.0))

    return graph


def _sum_of_losses(graph, rows):
    return float(graph(*map(tf.constant, map(np.stack, zip(*rows)))))


def _exp(nats):
    return math.exp(min(nats, 700.0))
