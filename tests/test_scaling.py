"""Accumulated, in half precision, rematerialised: the same training, and no trace of it in what is saved."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import models.trainer
from app.classifier import load_classifier
from app.export import export
from app.finetune import finetune
from app.pretrain import pretrain
from models import bert, heads
from models.config import TransformerConfig
from models.optimizers import pretraining_optimizer
from models.precision import computing_in
from models.trainer import Budget, NotFiniteError, Trainer, fast_precision
from tests.test_pretrain import SHAPE, assert_same_run, interrupt_after, weights

CONFIG = TransformerConfig(vocabulary_size=32, hidden_dim=16, num_layers=1, num_heads=2, intermediate_dim=32,
                           sequence_length=12)


def trainer(precision="float32", rematerialise=False, **options):
    keras.utils.set_random_seed(0)
    with computing_in(precision):
        model = heads.masked_lm(bert.backbone(CONFIG, rematerialise=rematerialise))
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:  # untrained blocks are identities
        variable.assign(variable + random.normal(0, 0.1, variable.shape))
    return Trainer(model, pretraining_optimizer(0.01), 0.01, warmup=0.0, **options)


def batch(rows=8, seed=0):
    """Rows with one to four labels, so that parts of the batch do not weigh the same."""
    random = np.random.default_rng(seed)
    weight = np.arange(4) < random.integers(1, 5, (rows, 1))
    weight[: rows // 4] = False  # and one part of four has none at all
    return {"token_ids": random.integers(5, 32, (rows, 12)).astype(np.int32),
            "segment_ids": np.repeat([[1, 2]], rows, 0).repeat(6, 1).astype(np.int32),
            "mask_positions": np.tile(np.int32([0, 3, 6, 9]), (rows, 1)),
            "labels": random.integers(5, 32, (rows, 4)).astype(np.int32), "sample_weight": weight.astype(np.float32)}


def trained(trainer, steps=3):
    """(loss, gradient norm) of each step."""
    found = []
    trainer.run([batch(seed=step) for step in range(steps)], Budget(steps=100), lambda *step: found.append(step))
    return found


@pytest.mark.parametrize("clip_norm", [1e9, 0.1])
def test_parts_give_the_update_of_the_whole_batch(clip_norm):
    whole, accumulated = trainer(clip_norm=clip_norm), trainer(clip_norm=clip_norm, accumulate=4)
    steps = trained(whole)
    assert min(norm for _, norm in steps) > 0.1  # the lower limit clips, and what is reported is from before
    np.testing.assert_allclose(trained(accumulated), steps, rtol=1e-5)
    assert accumulated.step == whole.step == 3
    assert [variable.path for variable in accumulated.variables] == [variable.path for variable in whole.variables]
    for one, other in zip(accumulated.variables, whole.variables):
        np.testing.assert_allclose(one, other, atol=2e-6, err_msg=one.path)


def test_rows_that_do_not_divide_are_refused():
    with pytest.raises(tf.errors.InvalidArgumentError):
        trained(trainer(accumulate=3))


def history(run):
    return [json.loads(line) for line in open(run / "history.jsonl", encoding="utf-8")]


def test_pretraining_accumulates_and_goes_on_exactly(prepared_corpus, tmp_path, monkeypatch):
    exact = {**SHAPE, "precision": "float32", "steps": 6}  # bfloat16 rounds the parts otherwise
    small = {**exact, "batch_size": 2, "accumulate": 4}
    for name in ("through", "stopped"):
        if name == "stopped":
            interrupt_after(3, monkeypatch)
            with pytest.raises(KeyboardInterrupt, match="Saved at step 3"):
                pretrain(prepared_corpus, to=tmp_path / name, **small)
            monkeypatch.undo()
        pretrain(prepared_corpus, to=tmp_path / name, **small)
    assert_same_run(tmp_path / "through", tmp_path / "stopped")
    pretrain(prepared_corpus, to=tmp_path / "whole", **exact)
    for one, other in zip(history(tmp_path / "through"), history(tmp_path / "whole"), strict=True):
        assert (one["step"], one["tokens"]) == (other["step"], other["tokens"])
        for name in ("loss", "gradient_norm", "validation_loss"):
            assert one[name] == pytest.approx(other[name], rel=1e-4), name
    with pytest.raises(ValueError, match="accumulate must be at least 1. Received: 0"):
        pretrain(prepared_corpus, to=tmp_path / "none", **{**small, "accumulate": 0})


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_precision_belongs_to_a_model(precision):
    before = keras.config.dtype_policy().name
    with pytest.raises(ZeroDivisionError), computing_in(precision):
        1 / 0
    assert keras.config.dtype_policy().name == before
    made = trainer(precision)
    layers = {layer.name: layer for layer in made.model._flatten_layers()}
    assert layers["layer_0_attention"].compute_dtype == layers["layer_0_output"].compute_dtype == precision
    assert layers["vocabulary_bias"].compute_dtype == "float32"
    assert made.model.output.dtype == "float32"
    assert {str(np.asarray(variable).dtype) for variable in made.variables} == {"float32", "int64"}
    # Built afterwards, a model is what it would be otherwise.
    later = heads.classifier(bert.backbone(CONFIG), 3)
    assert {layer.compute_dtype for layer in later._flatten_layers()} == {"float32"}


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_learns_what_float32_learns(precision):
    expected, found = trained(trainer(), 20), trained(trainer(precision), 20)
    assert found != expected  # something is rounded
    np.testing.assert_allclose(found, expected, rtol=0.03)


def test_norms_and_softmax_of_the_vocabulary_do_not_overflow():
    with computing_in("float16"):
        norm, model = keras.layers.RMSNormalization(), heads.masked_lm(bert.backbone(CONFIG))
    assert norm.compute_dtype == "float16"
    np.testing.assert_allclose(norm(tf.fill((1, 4), 3000.0)), 1.0, atol=1e-3)  # 3000² is beyond float16
    model.get_layer("vocabulary_bias").bias.assign(np.full(32, 1e5))  # too
    inputs = {name: batch()[name] for name in ("token_ids", "segment_ids", "mask_positions")}
    assert np.isfinite(model(inputs)).all()


def test_float16_skips_a_step_that_overflows_and_lowers_its_scale():
    made = trainer("float16")
    scale = made.optimizer.dynamic_scale
    scale.assign(2.0**40)
    before = [np.asarray(variable) for variable in made.model.trainable_variables]
    steps = trained(made, 1)
    assert np.isfinite(steps[0][0]) and not np.isfinite(steps[0][1]) and made.step == 1
    assert float(scale) == 2.0**39
    for variable, old in zip(made.model.trainable_variables, before):
        np.testing.assert_array_equal(variable, old)
    steps = trained(made, 30)  # goes on, and moves as soon as the scale fits
    assert np.isfinite(steps[-1]).all() and 1 < float(scale) < 2.0**39 and made.step == 31
    assert any(np.abs(np.asarray(variable) - old).max() > 0
               for variable, old in zip(made.model.trainable_variables, before))


def test_float16_gives_up_once_there_is_nothing_left_to_scale():
    made = trainer("float16")
    made.optimizer.dynamic_scale.assign(4.0)
    made.model.set_weights([np.full_like(weight, np.nan) for weight in made.model.get_weights()])
    with pytest.raises(NotFiniteError, match="at step 2"):
        trained(made, 9)


@pytest.fixture(scope="module")
def half_run(prepared_corpus, tmp_path_factory):
    """A run folder of a pretraining in float16 whose first steps overflow, interrupted and taken up again."""
    from keras.optimizers import LossScaleOptimizer

    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.optimizers, "LossScaleOptimizer",
                      lambda inner, name: LossScaleOptimizer(inner, initial_scale=2.0**36, name=name))
        options = {**SHAPE, "steps": 24, "precision": "float16"}
        pretrain(prepared_corpus, to=folder / "through", **options)
        with pytest.MonkeyPatch.context() as interruption:
            interrupt_after(4, interruption)
            with pytest.raises(KeyboardInterrupt):
                pretrain(prepared_corpus, to=folder / "half", **options)
        with pytest.raises(ValueError, match=r"begun with other options \(precision\)"):
            pretrain(prepared_corpus, to=folder / "half", **{**options, "precision": "bfloat16"})
        pretrain(prepared_corpus, to=folder / "half", **options)
    assert_same_run(folder / "through", folder / "half")
    return folder / "half"


def test_skipped_steps_leave_the_history_readable(half_run):
    entries = history(half_run)
    assert entries[0]["gradient_norm"] is None and entries[0]["loss"] is None  # steps 1 to 3 were skipped
    for entry in entries:
        json.dumps(entry, allow_nan=False)
    assert entries[-1]["step"] == 24 and entries[-1]["gradient_norm"] > 0


def test_nothing_after_pretraining_knows_its_precision(half_run, labelled_csv, tmp_path, once):
    for name in ("backbone", "masked_lm"):
        assert {array.dtype.name for array in weights(half_run / f"{name}.weights.h5").values()} == {"float32"}
    finetune(data=(str(labelled_csv),), to=tmp_path / "classifier", task="sentiment", backbone=str(half_run),
             sequence_length=32, num_epochs=1, minimum_steps=2, batch_size=16)
    classifier = load_classifier(tmp_path / "classifier")
    assert {layer.compute_dtype for layer in classifier.model._flatten_layers()} == {"float32"}
    export(tmp_path / "classifier", to=tmp_path / "exported")
    served = tf.saved_model.load(str(tmp_path / "exported")).signatures["serving_default"]
    graph = served.graph.as_graph_def()
    types = {attribute.type for function in [graph, *graph.library.function]
             for node in (function.node if function is graph else function.node_def)
             for attribute in node.attr.values()}
    assert tf.float32.as_datatype_enum in types
    assert not types & {tf.float16.as_datatype_enum, tf.bfloat16.as_datatype_enum}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_rematerialised_attention_is_the_same_attention(precision):
    kept, again = trainer(precision), trainer(precision, rematerialise=True)
    # TensorFlow's optimiser of graphs places the roundings of half precision differently.
    tolerance = 0.0 if precision == "float32" else 0.02
    np.testing.assert_allclose(trained(kept), trained(again), rtol=tolerance)
    if precision == "float32":
        for one, other in zip(kept.variables, again.variables):
            np.testing.assert_array_equal(one, other, err_msg=one.path)

    def softmaxes(made):
        return [node.type for node in made._train_step.get_concrete_function().graph.get_operations()].count("Softmax")

    # It is computed again: the graph holds each layer's twice, of both halves of a batch.
    assert softmaxes(again) - softmaxes(kept) == 2 * CONFIG.num_layers


@pytest.mark.parametrize(("capabilities", "expected"), [
    ([], "float32"), ([(9, 0)], "bfloat16"), ([(8, 0), (8, 6)], "bfloat16"), ([(7, 5)], "float32"),
    ([(9, 0), (7, 5)], "float32"), ([None], "float32")])
def test_the_default_precision_is_what_every_gpu_is_fast_in(monkeypatch, capabilities, expected):
    monkeypatch.setattr(models.trainer, "CPU_INFO", Path("nowhere"))
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: capabilities if kind == "GPU" else ["CPU"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details",
                        lambda device: {"compute_capability": device} if device else {})
    assert fast_precision() == expected


@pytest.mark.parametrize(("flags", "expected"), [("fpu amx_bf16 avx512_fp16", "bfloat16"), ("fpu avx512_bf16", "float32")])
def test_a_processor_that_multiplies_bfloat16_trains_in_it(monkeypatch, tmp_path, flags, expected):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : {flags}\n", encoding="utf-8")
    monkeypatch.setattr(models.trainer, "CPU_INFO", tmp_path / "cpuinfo")
    assert fast_precision() == expected
