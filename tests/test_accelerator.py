"""The encoder under JAX, where no TensorFlow is: the same values, and the benchmark's driver at a tiny size."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.tokenizer import SPECIAL_TOKENS
from models import bert, heads
from models.config import TransformerConfig
from tests.test_models import CONFIG, masked_lm_batch, randomise

pytestmark = pytest.mark.slow  # one process for all of them

# In a process of its own: a backend is chosen once. Prints JSON.
UNDER_JAX = """
import importlib, itertools, json, sys
sys.modules["tensorflow"] = None  # importing it is an error from now on
import keras, numpy as np
assert keras.backend.backend() == "jax"
for name in ("config", "layers", "bert", "heads", "baseline", "optimizers", "precision"):
    importlib.import_module(f"models.{name}")
from benchmarks import accelerator
from models import bert, heads
from models.config import TransformerConfig
from models.optimizers import pretraining_optimizer
found, (folder, corpus) = {}, sys.argv[1:]

given = np.load(f"{folder}/batch.npz")
for rematerialise in (False, True):
    model = heads.masked_lm(bert.backbone(TransformerConfig(**json.load(open(f"{folder}/config.json"))),
                                          rematerialise=rematerialise))
    model.load_weights(f"{folder}/masked_lm.weights.h5")
    np.save(f"{folder}/logits-{rematerialise}.npy", model(dict(given)))

rows, size = accelerator.prepared_rows(corpus)
batch = next(accelerator.masked_batches(rows, 16))
np.savez(f"{folder}/masked.npz", **batch)
config = TransformerConfig(size, 32, 2, 2, 64, rows.shape[1])
for precision in ("float32", "bfloat16"):
    side = accelerator.KerasSide(config, precision, pretraining_optimizer(5e-3))
    found[precision] = side.train(itertools.repeat(batch), 12)[1]

config = TransformerConfig(512, 128, 2, 2, 512, 128)
side = accelerator.KerasSide(config, "float32", keras.optimizers.SGD(0.1))
batch = next(accelerator.masked_batches(accelerator.random_rows(64, 128, 512), 4))
found["xla_flops"] = side.step.lower(side.state, batch).compile().cost_analysis()["flops"] / 4
found["flops"] = accelerator.training_flops(config, 128, 19)

config = TransformerConfig(11, 4, 3, 1, 6, 5)
found["by_hand"] = [accelerator.training_flops(config, 5, 2), accelerator.training_flops(config, 5, 5, peer=True)]

tiny = ["--sizes", "2x32", "--precision", "bfloat16", "--tokens", "128", "--steps", "2", "--repeats", "2",
        "--peak-size", "64", "--to", f"{folder}/figures.json"]
found["random"] = accelerator.main([*tiny, "--lengths", "16", "32", "--vocabulary-size", "64"])
found["prepared"] = accelerator.main([*tiny, "--corpus", corpus])
assert json.load(open(f"{folder}/figures.json")) == found["prepared"]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def under_jax(prepared_corpus, tmp_path_factory):
    """(what the script found, its folder)."""
    folder = tmp_path_factory.mktemp("jax")
    model = randomise(heads.masked_lm(bert.backbone(CONFIG)))
    model.save_weights(folder / "masked_lm.weights.h5")
    batch = masked_lm_batch()[0]
    np.savez(folder / "batch.npz", **batch)
    np.save(folder / "logits.npy", model(batch))
    (folder / "config.json").write_text(json.dumps(vars(CONFIG)))
    process = subprocess.run([sys.executable, "-c", UNDER_JAX, str(folder), str(prepared_corpus)], capture_output=True,
                             text=True, encoding="utf-8", timeout=600, cwd=Path(__file__).parents[1],
                             env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"})
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1]), folder


def test_weights_give_the_same_logits_on_both_backends(under_jax):
    _, folder = under_jax
    for rematerialise in (False, True):
        np.testing.assert_allclose(np.load(folder / f"logits-{rematerialise}.npy"), np.load(folder / "logits.npy"),
                                   rtol=1e-4, atol=1e-4)


def test_the_jitted_step_learns(under_jax, prepared_corpus):
    found, _ = under_jax
    size = json.loads((prepared_corpus / "manifest.json").read_text())["vocabulary_size"]
    for precision in ("float32", "bfloat16"):
        assert found[precision][0] == pytest.approx(math.log(size), rel=0.05)
        assert found[precision][-1] < found[precision][0] - 0.5
    assert found["bfloat16"] != found["float32"]


def test_operations_are_counted_as_by_hand_and_as_xla_counts_them(under_jax):
    found, _ = under_jax
    # 5 tokens, width 4, 3 layers of: queries, keys and values 2·4·12, output 2·4·4, feed-forward 2·(2·4·6), scores and
    # mixtures 2·(2·5·5·4); then the mixing of two neighbours 2·8·4 a token; 2 positions on 11 pieces 2·4·11; × 3.
    by_hand = 3 * (3 * (5 * (96 + 32 + 96) + 400) + 5 * 64 + 2 * 88)
    # The peer: a dense layer 2·4·4 a token in its head, and every position on the vocabulary.
    assert found["by_hand"] == [by_hand, 3 * (3 * (5 * (96 + 32 + 96) + 400) + 5 * 32 + 5 * 88)] == [15168, 15480]
    # The compiler counts what is no product as well: at width 128 some per cent.
    assert 1.0 < found["xla_flops"] / found["flops"] < 1.05


def test_masks_hide_real_tokens_and_nothing_else(under_jax, prepared_corpus):
    _, folder = under_jax
    batch = dict(np.load(folder / "masked.npz"))
    positions, weight = batch["mask_positions"], batch["sample_weight"] > 0
    assert positions.shape == (16, 5) and weight.mean() > 0.9
    assert all(len(set(row)) == len(row) for row in positions.tolist())
    shown = np.take_along_axis(batch["token_ids"], positions, axis=1)
    assert (shown[weight] == SPECIAL_TOKENS.index("[MASK]")).all()
    assert (batch["labels"][weight] >= len(SPECIAL_TOKENS)).all()
    assert (batch["token_ids"] == SPECIAL_TOKENS.index("[MASK]")).sum() == weight.sum()
    restored = batch["token_ids"].copy()
    np.put_along_axis(restored, positions, batch["labels"], axis=1)
    rows = np.fromfile(prepared_corpus / "train.rows", "<u2").reshape(-1, 32)
    assert {tuple(row) for row in restored.tolist()} <= {tuple(row) for row in rows.tolist()}
    assert (batch["segment_ids"] > 0).sum() == (restored > 0).sum() and batch["segment_ids"].max() > 1


def test_the_driver_reports_tokens_and_share_of_peak(under_jax):
    found, _ = under_jax
    assert [run["sequence_length"] for run in found["random"]["runs"]] == [16, 32]
    assert [run["sequence_length"] for run in found["prepared"]["runs"]] == [32]
    config = TransformerConfig(64, 32, 2, 1, 128, 16)
    flops = 3 * (2 * (16 * (8 * 32**2 + 4 * 32 * 128) + 4 * 16**2 * 32) + 16 * 4 * 32**2 + 2 * 2 * 32 * 64)
    run = found["random"]["runs"][0]
    assert run["num_layers"] == config.num_layers and run["vocabulary_size"] == 64 and run["side"] == "keras"
    share = run["tokens_per_second"] / 16 * flops / found["random"]["peak_flops"]
    assert run["share_of_peak"] == pytest.approx(share) and share > 0
    assert run["first_loss"] == pytest.approx(math.log(64), rel=0.1)
