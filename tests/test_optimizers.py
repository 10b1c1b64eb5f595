"""The schedule's values; one step of every optimizer against the formulas."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import bert, heads
from models.config import TransformerConfig
from models.finetuning_optimizers import LayerwiseAdamW, depths
from models.optimizers import learning_rate_share, pretraining_optimizer

CONFIG = TransformerConfig(vocabulary_size=32, hidden_dim=8, num_layers=3, num_heads=2, intermediate_dim=12,
                           sequence_length=8)
RATE, WEIGHT_DECAY, BETA_1, BETA_2, EPSILON = 0.01, 0.01, 0.9, 0.98, 1e-7


@pytest.mark.parametrize(("share", "warmup", "expected"), [
    (0.0, 0.1, 0.0), (0.05, 0.1, 0.5), (0.1, 0.1, 1.0), (0.55, 0.1, 0.5), (1.0, 0.1, 0.0), (1.2, 0.1, 0.0),
    (0.0, 0.0, 1.0), (0.25, 0.0, 0.75), (0.03, 0.06, 0.5),
])
def test_the_schedule_rises_and_falls(share, warmup, expected):
    assert learning_rate_share(share, warmup) == pytest.approx(expected)


@pytest.fixture
def classifier():
    model = heads.classifier(bert.backbone(CONFIG), 3)
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(random.normal(0, 1, variable.shape))
    return model


def some_gradients(model, seed=1):
    random = np.random.default_rng(seed)
    return [random.normal(0, 1, variable.shape).astype(np.float32) for variable in model.trainable_variables]


def adamw(value, gradients, rate, weight_decay, share=1.0):
    """Loshchilov & Hutter 2019, algorithm 2; Adam's part of the step, not the decay, is multiplied by `share`."""
    first = second = 0.0
    for step, gradient in enumerate(gradients, 1):
        first = BETA_1 * first + (1 - BETA_1) * gradient
        second = BETA_2 * second + (1 - BETA_2) * gradient**2
        value = value - rate * weight_decay * value
        corrected = share * rate * np.sqrt(1 - BETA_2**step) / (1 - BETA_1**step)
        value = value - corrected * first / (np.sqrt(second) + EPSILON)
    return value


def is_decayed(variable):
    return variable.name not in ("bias", "scale", "embeddings")


def test_every_variable_has_one_depth(classifier):
    groups = depths(classifier, CONFIG.num_layers)
    assert len(groups) == CONFIG.num_layers + 2 and all(groups)
    found = [id(variable) for group in groups for variable in group]
    assert len(found) == len(set(found))
    assert set(found) == {id(variable) for variable in classifier.trainable_variables}
    head, *layers, embeddings = ({variable.path for variable in group} for group in groups)
    assert any("classes" in path for path in head) and any("final_norm" in path for path in head) and len(head) == 3
    for number, paths in zip((2, 1, 0), layers, strict=True):
        assert all(f"layer_{number}_" in path for path in paths) and len(paths) == 6
    assert any("token_embedding" in path for path in embeddings)
    assert not any(re.search("layer_|classes|final", path) for path in embeddings)


def test_two_digits_of_layers_are_told_apart():
    config = TransformerConfig(32, 4, 12, 1, 4, 8)
    groups = depths(heads.classifier(bert.backbone(config), 2), 12)
    assert [len(group) for group in groups[:-1]] == [3, *[6] * 12]
    assert all("layer_11_" in variable.path for variable in groups[1])
    assert all("layer_1_" in variable.path for variable in groups[11])


@pytest.mark.parametrize("decay", [0.5, 1.0])
def test_each_depth_takes_its_own_adamw_step(classifier, decay):
    groups = depths(classifier, CONFIG.num_layers)
    before = {id(variable): variable.numpy().astype(np.float64) for variable in classifier.trainable_variables}
    optimizer = LayerwiseAdamW(123.0, groups, decay)
    optimizer.learning_rate.assign(RATE)  # as the schedule does before every step
    variables = classifier.trainable_variables
    steps = [some_gradients(classifier, seed) for seed in (1, 2)]
    for gradients in steps:
        optimizer.apply(gradients, variables)
    gradients_of = {id(variable): gradients for variable, *gradients in zip(variables, *steps)}
    for depth, group in enumerate(groups):
        for variable in group:
            expected = adamw(before[id(variable)], gradients_of[id(variable)], RATE,
                             WEIGHT_DECAY if is_decayed(variable) else 0.0, decay**depth)
            np.testing.assert_allclose(variable, expected, atol=2e-6, err_msg=variable.path)


def test_the_optimizers_state_is_listed_for_checkpoints(classifier):
    optimizer = LayerwiseAdamW(RATE, depths(classifier, CONFIG.num_layers), 0.5)
    shapes = [tuple(variable.shape) for variable in optimizer.variables]
    for variable in classifier.trainable_variables:
        assert shapes.count(tuple(variable.shape)) >= 2  # momentum and velocity
    assert len(shapes) == 2 * len(classifier.trainable_variables) + 2  # the rate and the number of steps


def test_only_the_used_rows_of_an_embedding_move():
    table = keras.Variable(np.random.default_rng(0).normal(size=(5, 3)), dtype="float32", name="embeddings")
    before = table.numpy().astype(np.float64)
    optimizer = LayerwiseAdamW(RATE, [[table]])
    random = np.random.default_rng(1)
    dense = []
    for rows in ([1, 3], [3, 1]):
        values = random.normal(size=(2, 3)).astype(np.float32)
        optimizer.apply([tf.IndexedSlices(tf.constant(values), tf.constant(rows), (5, 3))], [table])
        dense.append(np.zeros((5, 3)))
        dense[-1][rows] = values
    expected = adamw(before, dense, RATE, 0.0)
    np.testing.assert_allclose(table.numpy()[[1, 3]], expected[[1, 3]], atol=2e-6)
    np.testing.assert_array_equal(table.numpy()[[0, 2, 4]], before[[0, 2, 4]].astype(np.float32))


def test_a_row_rests_while_no_batch_uses_it():
    table = keras.Variable(np.ones((2, 1)), dtype="float32", name="embeddings")
    optimizer = LayerwiseAdamW(RATE, [[table]])
    for row in (0, 1, 1):
        at_rest = table.numpy()[1 - row]
        optimizer.apply([tf.IndexedSlices(tf.ones((1, 1)), tf.constant([row]), (2, 1))], [table])
        assert table.numpy()[1 - row] == at_rest != table.numpy()[row]


def test_muon_takes_the_matrices_and_adamw_the_rest():
    model = heads.masked_lm(bert.backbone(CONFIG))
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(random.normal(0, 1, variable.shape))
    optimizer = pretraining_optimizer(RATE)
    optimizer.build(model.trainable_variables)
    before = [variable.numpy().astype(np.float64) for variable in model.trainable_variables]
    gradients = some_gradients(model)
    optimizer.apply(gradients, model.trainable_variables)
    by_muon = []
    for variable, old, gradient in zip(model.trainable_variables, before, gradients):
        if len(variable.shape) == 2 and "embedding" not in variable.path:
            by_muon.append(variable.path)
            step = (old * (1 - RATE * 0.01) - variable.numpy()) / RATE
            # Near orthogonal, scaled to a root mean square of about 0.2 (Liu et al. 2025, equation 4).
            singular = np.linalg.svd(step, compute_uv=False) / (0.2 * np.sqrt(max(step.shape)))
            assert singular.min() > 0.3 and singular.max() < 1.4, variable.path
            assert np.sum(step * gradient) > 0
        else:
            expected = adamw(old, [gradient], RATE, WEIGHT_DECAY)
            np.testing.assert_allclose(variable, expected, atol=2e-6, err_msg=variable.path)
    assert len([path for path in by_muon if "layer_" in path]) == 4 * CONFIG.num_layers


@pytest.mark.parametrize("shape", [(24, 24), (24, 40), (24, 48), (24, 96), (96, 24)])
def test_muon_orthogonalises_as_keras_does(shape):
    random = np.random.default_rng(0)
    left, _, right = np.linalg.svd(random.normal(size=shape), full_matrices=False)
    for smallest in (0, -4):  # singular values from 1 to 1e-4, as gradients have them
        matrix = tf.constant(left * np.logspace(0, smallest, 24) @ right, tf.float32)
        ours, keras_own = (optimizer.zeropower_via_newtonschulz5(matrix, 5).numpy()
                           for optimizer in (pretraining_optimizer(RATE), keras.optimizers.Muon(RATE)))
        np.testing.assert_allclose(ours, keras_own, atol=1e-3 * np.abs(keras_own).max())
    assert not pretraining_optimizer(RATE).zeropower_via_newtonschulz5(tf.zeros(shape), 5).numpy().any()


def test_rates_reach_keras_optimizers_too():
    optimizer = pretraining_optimizer(RATE)
    assert isinstance(optimizer, keras.Optimizer)
    optimizer.learning_rate.assign(0.25)
    assert float(optimizer.learning_rate) == 0.25
