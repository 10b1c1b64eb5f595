"""Tokens a second of pretraining beside transformers and KerasHub: full rows of 128, and sentences of film reviews.

    python -m benchmarks.pretraining_speed --data FOLDER

All sides train 4 layers × 256, vocabulary 8192, batches of 32, 15 % masked, without dropout, forward, backward, clipping
and update, on the same token ids, and take turns. The peers update by AdamW; ours is measured with it too, for equal
arithmetic, beside the Muon that `pretrain` has. Tokens that count are those that are not padding. Ours reads prepared
rows through its own pipeline, several sentences to a row; transformers pads a batch to its longest sentence, KerasHub
every sentence to 128. FOLDER/imdb/train.jsonl.gz is read; every fifth review is enough.
"""

import argparse
import re
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from app.prepare import prepare
from app.pretrain import LEARNING_RATE
from app.terminal import load_tensorflow
from benchmarks import peers

BATCH_SIZE, LENGTH, VOCABULARY_SIZE, MASK_RATE = 32, 128, 8192, 0.15
PEERS = ("transformers", "keras_hub")
NAMES = {"ours": "fromzero", "adamw": "fromzero with AdamW", "transformers": "transformers", "keras_hub": "KerasHub"}
TEXTS = {"rows": "full rows of 128", "sentences": "sentences, at most 128"}


class Ours:
    """Our side: the model, the trainer and the pipeline that `pretrain` has; by default with its optimizer too."""

    def __init__(self, corpus, size="mini", optimizer=None):
        from app.objectives import build_trainer
        from data.masking import masked_examples
        from data.order import training_rows
        from data.prepared import load_prepared
        from models.config import transformer_config
        from models.trainer import Budget, Trainer

        prepared = load_prepared(corpus)
        config = transformer_config(size, vocabulary_size=prepared.tokenizer.vocabulary_size,
                                    sequence_length=prepared.sequence_length)
        _, self.trainer = build_trainer(config, LEARNING_RATE, seed=0)
        if optimizer:
            self.trainer = Trainer(self.trainer.model, optimizer, LEARNING_RATE)
        examples = masked_examples(training_rows(prepared.train_rows, 0, 0, BATCH_SIZE), 0, config.vocabulary_size,
                                   MASK_RATE)
        self.batches, self.budget = self._timed(examples), Budget(steps=1_000_000)

    def _timed(self, examples):
        examples = iter(examples)
        while True:
            started = time.monotonic()
            self.batch = next(examples)
            self.waiting += time.monotonic() - started
            yield self.batch

    def ask(self, seconds):
        """Trains for so long; {"tokens", "seconds", "waiting": seconds of these without a batch}."""
        before, steps, self.tokens, self.waiting = self.trainer.seconds, self.trainer.step, 0, 0.0

        def after_step(loss, gradient_norm):
            self.tokens += int(np.count_nonzero(self.batch["segment_ids"]))
            return self.trainer.seconds - before < seconds

        self.trainer.run(self.batches, self.budget, after_step)
        return {"tokens": self.tokens, "seconds": self.trainer.seconds - before, "waiting": self.waiting,
                "steps": self.trainer.step - steps}


def sentences(review):
    """A review cut at the ends of its sentences."""
    return [part for part in re.split(r"(?<=[.!?])\s+", review.replace("<br />", " ").strip()) if part]


def prepare_text(documents, folder, **options):
    """Prepares documents with `prepare`; returns the corpus and a file of its ids, int32, document after document."""
    from data.prepared import load_prepared
    from data.tokenizer import PAD

    text, ids = folder.with_suffix(".txt"), folder.with_suffix(".npy")
    text.write_text("\n".join(" ".join(document.split()) for document in documents) + "\n", encoding="utf-8")
    # Only equal documents are left out: short sentences are often nearly alike.
    prepare((str(text),), to=folder, sequence_length=LENGTH, near_duplicates=1.0, **options)
    rows = load_prepared(folder).train_rows
    np.save(ids, rows[rows != PAD].astype(np.int32))
    return folder, ids


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the open sets")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=15, help="of training, a side and round")
    parser.add_argument("--to", type=Path, default=peers.RESULTS / "pretraining_speed.json", help="where figures go")
    arguments = parser.parse_args()
    load_tensorflow()
    import keras

    reviews = [row["text"] for row in peers.read(arguments.data / "imdb" / "train.jsonl.gz")[::5]]
    results = {"machine": peers.machine(), "rounds": arguments.rounds}
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        corpora = {"rows": prepare_text(reviews, work / "rows", vocabulary_size=VOCABULARY_SIZE)}
        corpora["sentences"] = prepare_text([part for review in reviews for part in sentences(review)],
                                            work / "sentences", tokenizer=work / "rows" / "tokenizer.json")
        for text, (corpus, ids) in corpora.items():
            with ExitStack() as stack:
                sides = {"ours": Ours(corpus),
                         "adamw": Ours(corpus, optimizer=keras.optimizers.AdamW(weight_decay=0.01, beta_2=0.98))}
                for name in PEERS:
                    sides[name] = stack.enter_context(peers.Side("pretraining_speed_peer", name, text, ids))
                peers.take_turns(sides, 3.0, 1)  # traces and compiles
                results[text] = peers.take_turns(sides, arguments.seconds, arguments.rounds)
            summary = {NAMES[name]: round(speed(answers)) for name, answers in results[text].items()}
            print(f"{TEXTS[text]}, tokens/s: {summary}", flush=True)
    peers.save(arguments.to, results, table(results))


def speed(answers):
    """Median of the rounds' tokens a second."""
    return float(np.median([answer["tokens"] / answer["seconds"] for answer in answers]))


def table(results):
    """The figures as Markdown: medians of tokens a second, and of the rounds' ratios to the faster peer."""
    lines = [f"| tokens/s | {' | '.join(NAMES.values())} | to the faster | with AdamW | waiting for data |",
             "|---|---|---|---|---|---|---|---|"]
    for text, title in TEXTS.items():
        speeds = {name: speed(results[text][name]) for name in NAMES}
        faster = max(PEERS, key=speeds.get)
        waiting = sum(answer["waiting"] for answer in results[text]["ours"])
        seconds = sum(answer["seconds"] for answer in results[text]["ours"])
        lines.append(f"| {title} | {' | '.join(f'{value:,.0f}' for value in speeds.values())} "
                     f"| × {ratio(results[text], faster):.2f} | × {ratio(results[text], faster, 'adamw'):.2f} "
                     f"| {waiting / seconds:.1%} |")
    return "\n".join(lines)


def ratio(answers, peer, side="ours"):
    """Median over the rounds of our tokens a second by the peer's: what slows one round slows both."""
    pairs = zip(answers[side], answers[peer])
    return float(np.median([speed([ours]) / speed([theirs]) for ours, theirs in pairs]))


if __name__ == "__main__":
    main()
