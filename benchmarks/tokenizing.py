"""Megabytes of text a second into token ids, batches of 64 strings, beside KerasHub and `tokenizers`.

    python -m benchmarks.tokenizing --data FOLDER

Each side has a vocabulary of 8192 of the set's training texts: ours by its own trainer, the peers' WordPiece by
`tokenizers`. They take turns over the same test texts with all cores: ours and KerasHub's WordPiece (tensorflow-text)
as tf.data maps them in parallel, `tokenizers` by encode_batch, which is parallel itself.
"""

import argparse
import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from app.terminal import load_tensorflow
from benchmarks import peers

SETS = ("imdb", "online_shopping", "thucnews")
PEERS = ("keras_hub", "tokenizers")
NAMES = {"ours": "fromzero", "keras_hub": "KerasHub", "tokenizers": "tokenizers"}
VOCABULARY_SIZE, BATCH_SIZE = 8192, 64
MEGABYTES = 4  # of text in one turn


class Ours:
    """Our side: the tokenizer that `prepare` trains."""

    def __init__(self, training_texts, texts):
        import tensorflow as tf

        from data.vocabulary import train_tokenizer

        tokenizer = train_tokenizer(training_texts, VOCABULARY_SIZE)
        self.batches = tf.data.Dataset.from_tensor_slices(texts).batch(BATCH_SIZE).map(
            tokenizer.encode, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    def ask(self, question):
        """Tokenizes all the texts; {"tokens", "seconds"}."""
        started = time.perf_counter()
        tokens = sum(int(batch.row_splits[-1]) for batch in self.batches)
        return {"tokens": tokens, "seconds": time.perf_counter() - started}


def first_megabytes(texts):
    """As many texts as make MEGABYTES, from the first one again where there are fewer.

    To start an iterator takes tf.data 0.1 s or more; half a megabyte of titles would measure that.
    """
    size = sum(len(text.encode("utf-8")) for text in texts)
    texts = texts * int(np.ceil(MEGABYTES * 1_000_000 / size))
    sizes = np.cumsum([len(text.encode("utf-8")) for text in texts])
    return texts[: 1 + int(np.searchsorted(sizes, MEGABYTES * 1_000_000))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--data", type=Path, required=True, help="folder of the open sets")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--to", type=Path, default=peers.RESULTS / "tokenizing.json", help="where the figures go")
    arguments = parser.parse_args()
    load_tensorflow()
    results = {"machine": peers.machine(), "sets": {}}
    for name in arguments.sets:
        training_texts, texts = ([row["text"] for row in peers.read(arguments.data / name / f"{split}.jsonl.gz")]
                                 for split in ("train", "test"))
        texts = first_megabytes(texts)
        with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
            path = Path(temporary) / "texts.json"
            path.write_text(json.dumps([training_texts, texts]), encoding="utf-8")
            sides = {"ours": Ours(training_texts, texts)}
            for peer in PEERS:
                sides[peer] = stack.enter_context(peers.Side("tokenizing_peer", peer, path))
            peers.take_turns(sides, None, 1)  # traces
            answers = peers.take_turns(sides, None, arguments.rounds)
        results["sets"][name] = {"bytes": sum(len(text.encode("utf-8")) for text in texts), **answers}
        print(f"{name}, MB/s: { {side: round(speed(results['sets'][name], side), 2) for side in NAMES} }", flush=True)
    peers.save(arguments.to, results, table(results))


def speed(measured, side):
    """Median of the rounds' megabytes a second."""
    return float(np.median([measured["bytes"] / 1e6 / answer["seconds"] for answer in measured[side]]))


def ratio(measured, peer):
    """Median over the rounds of our speed by the peer's."""
    return float(np.median([theirs["seconds"] / ours["seconds"]
                            for ours, theirs in zip(measured["ours"], measured[peer])]))


def table(results):
    """The figures as Markdown."""
    lines = ["| MB/s | fromzero | KerasHub | tokenizers | to the faster |", "|---|---|---|---|---|"]
    for name, measured in results["sets"].items():
        speeds = {side: speed(measured, side) for side in NAMES}
        lines.append(f"| {name} | {speeds['ours']:.1f} | {speeds['keras_hub']:.1f} | {speeds['tokenizers']:.1f} "
                     f"| × {ratio(measured, max(PEERS, key=speeds.get)):.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
