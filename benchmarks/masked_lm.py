"""Held-out masked-LM loss for the minute, on the peer's own vocabulary, rows, held-out rows and masks.

    python -m benchmarks.masked_lm --data FOLDER --minutes 20 --peer-minutes 20

transformers trains its BERT on IMDB text as its example script does (benchmarks/masked_lm_peer.py), 15 % masked; ours
trains on the same rows of 128 as `pretrain` does, 20 % masked and from its start with neighbourhoods, whose time counts.
Both are measured on the same held-out rows with the same 15 % masked. Both learning rates
fall to zero over the minutes given. Without --peer-minutes the peer's figures are those of an earlier run. A run stays
in the file under its minutes: a short budget reaches a loss sooner than the first part of a long one.
"""

import argparse
import dataclasses
import json
import math
from pathlib import Path

import numpy as np

from app.pretrain import LEARNING_RATE
from app.terminal import load_tensorflow
from benchmarks import peers

IGNORED = -100  # where the peer asks for no label
EVALUATION_BATCH = 64


def train(rows, held_out, config, minutes, learning_rate=LEARNING_RATE, batch_size=32, seed=0):
    """Trains our encoder, evaluations not counted.

    Args:
        rows: int (N, L), the training rows.
        held_out: list of batches, see `held_out_batches`.
        config: `TransformerConfig`.

    Returns:
        list of {"minutes", "steps", "tokens", "loss"}, one a tenth of the time.
    """
    from app.objectives import MASK_RATE, build_trainer, start_from_neighbours
    from app.training import EVALUATIONS
    from data.masking import masked_examples
    from data.order import training_rows
    from models.trainer import Budget

    backbone, trainer = build_trainer(config, learning_rate, seed)
    start_from_neighbours(backbone, trainer, rows, seed)
    examples = masked_examples(training_rows(rows, seed, 0, batch_size), seed, config.vocabulary_size, MASK_RATE)
    budget = Budget(seconds=60 * minutes)
    evaluations, spent = [], 0.0

    def after_step(loss, gradient_norm):
        nonlocal spent
        share = budget.share(trainer.step, trainer.seconds)
        if math.floor(EVALUATIONS * share) > math.floor(EVALUATIONS * spent):
            evaluations.append({"minutes": trainer.seconds / 60, "steps": trainer.step,
                                "tokens": trainer.step * batch_size * rows.shape[1],
                                "loss": float(trainer.evaluate(held_out)["loss"])})
            print(f"fromzero, {trainer.seconds / 60:.1f} minutes, {trainer.step} steps: held-out loss "
                  f"{evaluations[-1]['loss']:.3f}", flush=True)
        spent = share

    trainer.run(examples, budget, after_step)
    return evaluations


def held_out_batches(shown, labels):
    """The peer's held-out rows as batches of our model.

    Args:
        shown: int (N, L), tokens as the model sees them.
        labels: int (N, L), what stood there; IGNORED where nothing is asked.

    Returns:
        list of dicts as `data.masking.mask_rows` makes them.
    """
    import tensorflow as tf

    from data.packing import segment_ids

    asked = labels != IGNORED
    places = np.argsort(~asked, axis=1, kind="stable")[:, : asked.sum(axis=1).max()]  # (N, M), the asked ones first
    weight = np.take_along_axis(asked, places, axis=1)
    whole = {"token_ids": shown, "segment_ids": segment_ids(tf.constant(shown, tf.int32)).numpy(),
             "mask_positions": np.where(weight, places, 0),
             "labels": np.where(weight, np.take_along_axis(labels, places, axis=1), 0)}
    whole = {name: tf.constant(values, tf.int32) for name, values in whole.items()}
    whole["sample_weight"] = tf.constant(weight, tf.float32)
    return [{name: values[start : start + EVALUATION_BATCH] for name, values in whole.items()}
            for start in range(0, len(shown), EVALUATION_BATCH)]


def minutes_to(loss, evaluations):
    """Minutes of training at the first evaluation that is at or below a loss; None if none is."""
    return next((evaluation["minutes"] for evaluation in evaluations if evaluation["loss"] <= loss), None)


def check_vocabulary(path):
    """How many tokens a vocab.txt holds.

    Raises:
        ValueError: its special tokens have other ids than ours.
    """
    from data.tokenizer import SPECIAL_TOKENS

    tokens = path.read_text(encoding="utf-8").splitlines()
    if tuple(tokens[: len(SPECIAL_TOKENS)]) != SPECIAL_TOKENS:
        raise ValueError(f"{path} must begin with {' '.join(SPECIAL_TOKENS)}. Received: "
                         f"{' '.join(tokens[:len(SPECIAL_TOKENS)])}; other versions of tokenizers number them otherwise")
    return len(tokens)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the open sets")
    parser.add_argument("--minutes", type=float, default=20, help="of our training")
    parser.add_argument("--peer-minutes", type=float, help="of the peer's; without it figures of an earlier run stay")
    parser.add_argument("--num-layers", type=int, default=4)
    parser.add_argument("--hidden-dim", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("runs") / "masked_lm", help="where rows go, and are found")
    parser.add_argument("--to", type=Path, default=peers.RESULTS / "masked_lm.json", help="where the figures go")
    arguments = parser.parse_args()
    load_tensorflow()
    from models.config import transformer_config

    if not (arguments.work / "held_out_labels.npy").exists():
        print("the peer trains its vocabulary and writes the rows", flush=True)
        peers.run("masked_lm_peer", "rows", arguments.data, arguments.work)
    vocabulary_size = check_vocabulary(arguments.work / "vocab.txt")
    rows, shown, labels = (np.load(arguments.work / f"{name}.npy") for name in ("train", "held_out", "held_out_labels"))
    results = json.loads(arguments.to.read_text(encoding="utf-8")) if arguments.to.exists() else {}
    results = {"peer": results.get("peer", {}), "ours": results.get("ours", {})}
    machine = peers.machine()
    if arguments.peer_minutes:
        evaluations = peers.run("masked_lm_peer", "train", arguments.work, arguments.peer_minutes)
        results["peer"][f"{arguments.peer_minutes:g}"] = {"machine": machine, "evaluations": evaluations}
    config = transformer_config("mini", vocabulary_size=vocabulary_size, sequence_length=rows.shape[1],
                                num_layers=arguments.num_layers, hidden_dim=arguments.hidden_dim)
    evaluations = train(rows, held_out_batches(shown, labels), config, arguments.minutes, arguments.learning_rate,
                        arguments.batch_size, arguments.seed)
    results["ours"][f"{arguments.minutes:g}"] = {
        "encoder": dataclasses.asdict(config), "learning_rate": arguments.learning_rate,
        "batch_size": arguments.batch_size, "seed": arguments.seed, "machine": machine, "evaluations": evaluations}
    peers.save(arguments.to, results, table(results))


def peer_loss(results):
    """(the loss at the end of the peer's longest run, its minutes), or (None, None)."""
    if not results["peer"]:
        return None, None
    longest = max(results["peer"], key=float)
    return results["peer"][longest]["evaluations"][-1]["loss"], float(longest)


def table(results):
    """The figures as Markdown: a line a run."""
    bar, peer_minutes = peer_loss(results)
    reached = "" if bar is None else f" to {bar:.3f}, the peer's after {peer_minutes:g}"
    lines = [f"| | minutes | tokens seen | held-out loss | minutes{reached} |", "|---|---|---|---|---|"]
    for side, name in (("peer", "transformers"), ("ours", "fromzero")):
        for minutes, one in sorted(results[side].items(), key=lambda item: float(item[0])):
            last = one["evaluations"][-1]
            reached = None if bar is None else minutes_to(bar, one["evaluations"])
            lines.append(f"| {name} | {minutes} | {last['tokens'] / 1e6:.2f} M | {last['loss']:.3f} "
                         f"| {'–' if reached is None else f'{reached:.1f}'} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
