"""Evaluations of a long training in; history.jsonl, TensorBoard and what the model says of held-out text out."""

import functools
import math

import numpy as np
import tensorflow as tf

from app.generator import Generator
from app.terminal import console
from data.tokenizer import MASK, PAD, SEP
from models.generation import Beams
from models.heads import best_spans
from models.run_folder import append_history, cut_history


class History:
    """What evaluations leave behind: history.jsonl, TensorBoard, the terminal."""

    def __init__(self, folder, trainer, tokenizer, validation, tokens_per_step, losses, shown):
        self.folder, self.trainer, self.tokenizer, self.validation = folder, trainer, tokenizer, validation
        self.tokens_per_step = tokens_per_step
        self.shown = shown  # of `app.objectives.Objective`
        self.losses = losses  # of the steps since the last evaluation
        self.gradient_norm = None  # of the last step
        entries = cut_history(folder, trainer.step)
        # Of the last evaluation, if this step has been evaluated: all steps may be done when a training goes on.
        self.result = entries[-1] if entries and entries[-1]["step"] == trainer.step else None
        self.tensorboard = tf.summary.create_file_writer(str(folder / "tensorboard"))

    def evaluate(self):
        """Measures the held-out loss, records and shows it."""
        with self.trainer.averaged():
            return self._evaluate()

    def _evaluate(self):
        step = self.trainer.step
        measured = self.trainer.evaluate(self.validation)
        self.result = {
            "step": step, "seconds": round(self.trainer.seconds, 1), "tokens": step * self.tokens_per_step,
            "loss": float(np.mean(self.losses)) if self.losses else None, "gradient_norm": self.gradient_norm,
            "validation_loss": measured["loss"],
            "perplexity": math.exp(min(measured["loss"], 700.0)), "accuracy": measured["accuracy"]}
        self.losses.clear()
        append_history(self.folder, **self.result)
        with self.tensorboard.as_default():
            for name in ("loss", "gradient_norm", "validation_loss", "perplexity", "accuracy"):
                if self.result[name] is not None:
                    tf.summary.scalar(name, self.result[name], step)
        console.print(f"step {step:,}: held-out loss {measured['loss']:.3f}, perplexity "
                      f"{self.result['perplexity']:.1f}, accuracy {measured['accuracy']:.3f}")
        numbers = sorted({0, len(self.validation) // 2, len(self.validation) - 1})  # a small set has one batch
        for number in numbers:
            for line in self.shown(self.trainer.model, self.tokenizer, self.validation[number], 3 // len(numbers)):
                console.print(f"    {line}", markup=False, style="dim")
        return self.result


def guesses(model, tokenizer, batch, count=3, tokens=24):
    """A few held-out sentences with the model's best guess at each masked place.

    Args:
        model: a masked LM.
        batch: what `data.masking.mask_rows` returns.

    Returns:
        list of strings; `[guess]` where the guess is right, `[guess|what stood there]` where not.
    """
    best = np.argmax(model({name: batch[name] for name in ("token_ids", "segment_ids", "mask_positions")},
                           training=False), axis=-1)  # (B, M)
    batch = {name: np.asarray(value) for name, value in batch.items()}
    lines = []
    for row in range(min(count, len(best))):
        pieces = [tokenizer.vocabulary[token] for token in batch["token_ids"][row]]
        for place, label, guess, weight in zip(batch["mask_positions"][row], batch["labels"][row], best[row],
                                               batch["sample_weight"][row]):
            if weight:
                truth, guessed = tokenizer.vocabulary[label], tokenizer.vocabulary[guess]
                pieces[place] = f"[{guessed}]" if truth == guessed else f"[{guessed}|{truth}]"
        first_document = np.count_nonzero(batch["segment_ids"][row] == 1)
        lines.append("".join(pieces[1 : min(tokens, first_document - 1)]).replace("▁", " ").strip())
    return lines


# A training's: its graph is traced once, not at every evaluation.
_generator = functools.lru_cache(maxsize=1)(Generator)


def continuations(model, tokenizer, batch, count=3, beginning=8, tokens=16):
    """A few held-out documents' beginnings and how the model goes on with them, the best token each time.

    Args:
        model: a causal LM.
        batch: what `data.causal.next_tokens` returns.

    Returns:
        list of strings: the beginning, " … " and the rest.
    """
    search = _generator(model, tokenizer, beginning + tokens).search(tokens, Beams())
    beginnings = np.asarray(batch["token_ids"])[:count, :beginning]
    beginnings = [row[: np.argmax(row == SEP) if SEP in row else None] for row in beginnings]
    lines = []
    for row in beginnings:
        texts = tokenizer.decode(tf.ragged.stack([row, search(row[None])[0]])).numpy()
        lines.append(" … ".join(text.decode() for text in texts))
    return lines


def fillings(model, tokenizer, batch, count=3, tokens=24):
    """A few held-out documents with what an encoder–decoder fills in for each hidden span, token by token.

    Args:
        model: `models.seq2seq.encoder_decoder`.
        batch: what `data.denoising.denoise_rows` returns.

    Returns:
        list of strings; `[filling]` where it is right, `[filling|what stood there]` where not.
    """
    best = np.argmax(model({name: batch[name] for name in model.input}, training=False), axis=-1)  # (B, T)
    batch = {name: np.asarray(value) for name, value in batch.items()}
    lines = []
    for row in range(min(count, len(best))):
        inside = batch["target_segment_ids"][row] == 1  # of the first document
        labels, filled = (["".join(tokenizer.vocabulary[token] for token in span[1:]) for span in
                           np.split(ids[inside][:-1], np.flatnonzero(batch["labels"][row][inside] == MASK)[1:])]
                          for ids in (batch["labels"][row], best[row]))
        spans = iter(f"[{filling}]" if filling == truth else f"[{filling}|{truth}]"
                     for filling, truth in zip(filled, labels))
        source = batch["token_ids"][row][batch["segment_ids"][row] == 1]
        lines.append("".join(next(spans) if token == MASK else tokenizer.vocabulary[token] for token in source[1:tokens]
                             if token != SEP).replace("▁", " ").strip())
    return lines


def written(writer, batch, count=3):
    """A few held-out texts and what an encoder–decoder writes from them, the best token each time.

    Args:
        writer: `app.writer.Writer`.
        batch: what `data.pairs.EncodedPairs.batch` returns.

    Returns:
        list of strings: the text, " → " and what is written.
    """
    token_ids = tf.constant(batch["token_ids"][:count])
    texts = writer.tokenizer.decode(token_ids).numpy()
    answers = writer.graph(Beams())(token_ids).numpy()
    return [f"{text.decode()} → {answer.decode()}" for text, answer in zip(texts, answers)]


def answered(model, tokenizer, batch, count=3, longest=24):
    """A few held-out questions and the pieces of their windows that a span model takes for the answer.

    Args:
        model: of `models.heads.span`.
        batch: what `data.batching.EncodedExamples.batch` returns for rows `[CLS] question [SEP] window [SEP]`.
        longest: of an answer, in tokens.

    Returns:
        list of strings: the question, " → " and the answer; nothing after it where no answer is the more probable.
    """
    token_ids = tf.constant(batch["token_ids"][:count])
    logits = model({"token_ids": token_ids, "segment_ids": tf.constant(batch["segment_ids"][:count])}, training=False)
    spans = zip(*(part.numpy() for part in best_spans(logits, token_ids != PAD, longest)))
    lines = []
    for row, (start, end, found, nothing) in zip(token_ids.numpy(), spans):
        question = row[1 : np.argmax(row == SEP)]
        answer = row[start : end + 1] if found > nothing else row[:0]
        texts = tokenizer.decode(tf.ragged.stack([question, answer])).numpy()
        lines.append(" → ".join(text.decode() for text in texts))
    return lines
