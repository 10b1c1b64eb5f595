"""How fast does the encoder train on an accelerator? Tokens a second and the share of the device's matrix products.

    KERAS_BACKEND=jax python -m benchmarks.accelerator --torch

Needs JAX and Keras; TensorFlow, the tokenizer and the rest of the chain stay out. Trains the masked LM of `models/` by
AdamW in one jitted step, on rows of a prepared corpus or of random ids, which are masked on the host while the device
works. With --torch, transformers' BertForMaskedLM under torch.compile takes turns with it on the same rows.
"""

import argparse
import importlib.metadata
import json
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch needs memory of the same device

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks import peers  # noqa: E402
from models import bert, heads  # noqa: E402
from models.config import TransformerConfig  # noqa: E402
from models.precision import computing_in  # noqa: E402

MASK_RATE = 0.15
CLS, MASK, NUM_SPECIAL_TOKENS = 2, 4, 5  # as in data/tokenizer.py, which would bring TensorFlow along
LEARNING_RATE = 1e-4  # of both sides: PyTorch has AdamW, which pretraining here uses for embeddings alone


def training_flops(config, length, predicted, *, peer=False):
    """Floating-point operations of the matrix products in one training step of one row.

    A product (a, b) × (b, c) counts 2·a·b·c, and the backward pass twice the forward pass (Chowdhery et al. 2022,
    "PaLM", appendix B). What is computed twice to save memory, norms, softmax and the optimizer count nothing.

    Args:
        config: `TransformerConfig`.
        length: L, tokens of the row.
        predicted: M, positions that are projected on the vocabulary.
        peer: count transformers' BERT, which has no local mixing, and a dense layer more in its head.

    Returns:
        int.
    """
    width = config.hidden_dim
    layer = length * (8 * width**2 + 4 * width * config.intermediate_dim)  # queries, keys, values, output; feed-forward
    layer += 4 * length**2 * width  # scores and mixtures
    local = 2 * length * width**2 if peer else 4 * length * width**2  # the head's dense layer; two neighbours
    return 3 * (config.num_layers * layer + local + 2 * predicted * width * config.vocabulary_size)


def prepared_rows(folder):
    """(rows of a corpus that `prepare` made as np.memmap (N, L), its vocabulary size)."""
    manifest = json.loads((Path(folder) / "manifest.json").read_text(encoding="utf-8"))
    size, length = manifest["vocabulary_size"], manifest["recipe"]["sequence_length"]
    dtype = "<u2" if size <= 65536 else "<i4"  # as in data/packing.py
    return np.memmap(Path(folder) / "train.rows", dtype, "r", shape=(manifest["rows"]["train"], length)), size


def random_rows(count, length, vocabulary_size):
    """int32 (count, length): one document of random ids a row."""
    rows = np.random.default_rng(0).integers(NUM_SPECIAL_TOKENS, vocabulary_size, (count, length), dtype=np.int32)
    rows[:, 0] = CLS
    return rows


def masked_batches(rows, batch_size, seed=0):
    """Endless batches of random rows, each with the same number of tokens hidden.

    Args:
        rows: int (N, L); 0 = padding.

    Yields:
        dict of NumPy arrays: "token_ids", "segment_ids" int32 (B, L), "mask_positions", "labels" int32 (B, M) and
        "sample_weight" float32 (B, M).
    """
    random = np.random.default_rng(seed)
    predicted = round(rows.shape[1] * MASK_RATE)
    while True:
        batch = np.asarray(rows[random.integers(0, len(rows), batch_size)], np.int32)
        scores = random.random(batch.shape, np.float32) - (batch < NUM_SPECIAL_TOKENS)  # special tokens come last
        positions = np.argpartition(-scores, predicted - 1, axis=1)[:, :predicted].astype(np.int32)
        labels = np.take_along_axis(batch, positions, axis=1)
        shown = batch.copy()
        np.put_along_axis(shown, positions, np.where(labels < NUM_SPECIAL_TOKENS, labels, MASK), axis=1)
        segments = np.cumsum(batch == CLS, axis=1, dtype=np.int32)
        yield {"token_ids": shown, "segment_ids": np.where(batch == 0, 0, segments),
               "mask_positions": positions, "labels": labels,
               "sample_weight": np.float32(labels >= NUM_SPECIAL_TOKENS)}


class KerasSide:
    """The masked LM of `models/` with its jitted training step."""

    def __init__(self, config, precision, optimizer):
        keras.utils.set_random_seed(0)
        with computing_in(precision):
            model = heads.masked_lm(bert.backbone(config))
        optimizer.build(model.trainable_variables)
        mean_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
        self.state = [[variable.value for variable in variables] for variables in (
            model.trainable_variables, model.non_trainable_variables, optimizer.variables)]

        def loss(trainable, others, batch):
            logits, _ = model.stateless_call(trainable, others, {name: batch[name] for name in model.input},
                                             training=True)
            return mean_loss(batch["labels"], logits, batch["sample_weight"])

        def step(state, batch):
            trainable, others, optimizer_state = state
            value, gradients = jax.value_and_grad(loss)(trainable, others, batch)
            trainable, optimizer_state = optimizer.stateless_apply(optimizer_state, gradients, trainable)
            return value, [trainable, others, optimizer_state]

        self.step = jax.jit(step, donate_argnums=0)

    def train(self, batches, steps):
        """Returns (seconds, the losses float (steps,))."""
        started = time.perf_counter()
        losses = []
        for _ in range(steps):
            loss, self.state = self.step(self.state, next(batches))
            losses.append(loss)
        jax.block_until_ready(self.state)
        return time.perf_counter() - started, [float(loss) for loss in losses]


def peak_flops(precision, size, products=20, repeats=3):
    """Operations a second of the device in products of square matrices, the best of a few tries.

    Args:
        size: of the matrices, (size, size).
        products: one after the other in a try.
    """
    matrix = jax.random.normal(jax.random.key(0), (size, size)).astype(precision) / size**0.5
    chain = jax.jit(lambda x, y: jax.lax.fori_loop(0, products, lambda _, z: jnp.matmul(z, y), x))
    jax.block_until_ready(chain(matrix, matrix))  # compiled
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        jax.block_until_ready(chain(matrix, matrix))
        seconds.append(time.perf_counter() - started)
    return products * 2 * size**3 / min(seconds)


def measure(config, rows, arguments, peak):
    """One size on rows of one length: a dict of figures, one for each side, whose runs alternate."""
    length = rows.shape[1]
    batch_size = max(1, arguments.tokens // length)
    sides = {"keras": KerasSide(config, arguments.precision, keras.optimizers.AdamW(LEARNING_RATE))}
    if arguments.torch:
        from benchmarks.accelerator_peer import TorchSide

        sides["torch"] = TorchSide(config, arguments.precision, LEARNING_RATE)
    flops = {name: training_flops(config, length, length if name == "torch" else round(length * MASK_RATE),
                                  peer=name == "torch") for name in sides}
    batches = {name: masked_batches(rows, batch_size) for name in sides}
    losses = {name: side.train(batches[name], 3)[1] for name, side in sides.items()}  # compiles
    seconds = {name: [] for name in sides}
    for _ in range(arguments.repeats):
        for name, side in sides.items():
            taken, found = side.train(batches[name], arguments.steps)
            seconds[name].append(taken / arguments.steps / batch_size)
            losses[name] += found
    return {name: {"tokens_per_second": length / statistics.median(seconds[name]),
                   "share_of_peak": flops[name] / statistics.median(seconds[name]) / peak,
                   "first_loss": losses[name][0], "last_loss": losses[name][-1]} for name in sides}


def table(results):
    """The figures as Markdown."""
    lines = [f"{results['device']}, {results['precision']}: peak of matrix products "
             f"{results['peak_flops'] / 1e12:.3g} TFLOP/s", "",
             "| encoder | rows of | side | tokens/s | share of peak |", "|---|---|---|---|---|"]
    lines += [f"| {run['num_layers']} × {run['hidden_dim']} | {run['sequence_length']} | {run['side']} | "
              f"{run['tokens_per_second']:,.0f} | {run['share_of_peak']:.1%} |" for run in results["runs"]]
    return "\n".join(lines)


def parse(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["12x512", "12x768"], help="layers x width")
    parser.add_argument("--lengths", nargs="+", type=int, default=[128, 512], help="of rows of random ids")
    parser.add_argument("--corpus", type=Path, help="a prepared corpus, whose rows are used instead")
    parser.add_argument("--vocabulary-size", type=int, default=16384, help="of random ids")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--tokens", type=int, default=65536, help="in a batch, padding included")
    parser.add_argument("--steps", type=int, default=20, help="timed at once")
    parser.add_argument("--repeats", type=int, default=5, help="times that each side is timed; the median counts")
    parser.add_argument("--peak-size", type=int, default=8192, help="of the matrices that the peak is measured with")
    parser.add_argument("--torch", action="store_true", help="measure transformers on PyTorch beside it")
    parser.add_argument("--to", type=Path, help="a JSON file for the figures; their table goes beside it")
    return parser.parse_args(words)


def main(words=None):
    """Measures every size and length, prints a table and returns what --to gets."""
    arguments = parse(words)
    if keras.backend.backend() != "jax":
        raise SystemExit(f"error: this runs on Keras's JAX backend. Received: KERAS_BACKEND={keras.backend.backend()}")
    peak = peak_flops(arguments.precision, arguments.peak_size)
    packages = ("jax", "keras", *(("torch", "transformers") if arguments.torch else ()))
    results = {"device": jax.devices()[0].device_kind, "precision": arguments.precision, "peak_flops": peak,
               "versions": {name: importlib.metadata.version(name) for name in packages}, "runs": []}
    vocabulary_size = arguments.vocabulary_size
    if arguments.corpus:
        rows, vocabulary_size = prepared_rows(arguments.corpus)
        sets = [rows]
    else:
        sets = [random_rows(4096, length, vocabulary_size) for length in arguments.lengths]
    for size in arguments.sizes:
        num_layers, width = map(int, size.split("x"))
        for rows in sets:
            length = rows.shape[1]
            config = TransformerConfig(vocabulary_size, width, num_layers, max(1, width // 64), 4 * width, length)
            for side, figures in measure(config, rows, arguments, peak).items():
                results["runs"].append({"num_layers": num_layers, "hidden_dim": width, "sequence_length": length,
                                        "vocabulary_size": vocabulary_size, "side": side, **figures})
            print(f"{size}, rows of {length}: measured", flush=True)
    if arguments.to:
        peers.save(arguments.to, results, table(results))
    else:
        print(table(results))
    return results


if __name__ == "__main__":
    main()
