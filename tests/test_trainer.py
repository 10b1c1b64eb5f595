"""The loop learns, counts labels once, stops when told and says what went wrong."""

import math
import os
import signal
import threading
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import bert, heads
from models.baseline import BaselineConfig, baseline
from models.config import TransformerConfig
from models.finetuning_optimizers import LayerwiseAdamW, depths
from models.optimizers import pretraining_optimizer
from models.trainer import Budget, NotFiniteError, Trainer, stop_signals
from tests.test_models import randomise

CONFIG = TransformerConfig(vocabulary_size=32, hidden_dim=16, num_layers=2, num_heads=2, intermediate_dim=32,
                           sequence_length=12)


def masked_lm_batch(batch_size=4, seed=0):
    random = np.random.default_rng(seed)
    return {"token_ids": random.integers(5, 32, (batch_size, 12)).astype(np.int32),
            "segment_ids": np.ones((batch_size, 12), np.int32),
            "mask_positions": np.tile(np.arange(3, dtype=np.int32), (batch_size, 1)),
            "labels": random.integers(5, 32, (batch_size, 3)).astype(np.int32),
            "sample_weight": np.float32([[1, 1, 0]] * batch_size)}


def classifier_batch(batch_size=8, length=12, seed=0, weight=1.0):
    random = np.random.default_rng(seed)
    return {"token_ids": random.integers(5, 32, (batch_size, length)).astype(np.int32),
            "segment_ids": np.ones((batch_size, length), np.int32),
            "labels": random.integers(0, 3, batch_size).astype(np.int32),
            "sample_weight": np.full(batch_size, weight, np.float32)}


def masked_lm_trainer(rate=0.02):
    keras.utils.set_random_seed(0)
    return Trainer(heads.masked_lm(bert.backbone(CONFIG)), pretraining_optimizer(rate), rate)


def classifier_trainer(rate=0.02, dropout=0.1):
    keras.utils.set_random_seed(0)
    model = heads.classifier(bert.backbone(CONFIG), 3, dropout)
    return Trainer(model, LayerwiseAdamW(rate, depths(model, 2), 0.9), rate)


def baseline_trainer(rate=0.05, clip_norm=1.0):
    keras.utils.set_random_seed(0)
    model = baseline(BaselineConfig(32, 3, 8))
    return Trainer(model, LayerwiseAdamW(rate, [model.trainable_variables]), rate, clip_norm=clip_norm)


def log_softmax(logits):
    logits = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def nothing(loss, norm):
    return True


@pytest.mark.parametrize(("make", "batch", "steps"), [
    (masked_lm_trainer, masked_lm_batch, 80), (classifier_trainer, classifier_batch, 60),
    (baseline_trainer, classifier_batch, 80)])
def test_one_batch_is_learned_by_heart(make, batch, steps):
    trainer, losses = make(), []
    trainer.run([batch()] * steps, Budget(steps=steps), lambda loss, norm: losses.append(loss))
    after = trainer.evaluate([batch()])
    assert len(losses) == trainer.step == steps
    assert after["loss"] < 0.2 < losses[0] and after["accuracy"] == 1.0


def test_an_untrained_loss_is_ln_v_and_padding_does_not_dilute_it():
    trainer, losses = masked_lm_trainer(), []
    batch = masked_lm_batch()
    # A uniform output makes the value exact.
    trainer.model.set_weights([np.zeros_like(weight) for weight in trainer.model.get_weights()])
    expected = {"loss": pytest.approx(np.log(32), rel=1e-6), "count": 8}
    assert {name: trainer.evaluate([batch])[name] for name in expected} == expected
    trainer.run([batch], Budget(steps=10), lambda loss, norm: losses.append(loss))
    assert losses == [pytest.approx(np.log(32), rel=1e-6)]
    assert masked_lm_trainer().evaluate([batch])["loss"] == pytest.approx(np.log(32), abs=0.2)


def test_losses_equal_a_computation_by_hand():
    trainer = classifier_trainer()
    random = np.random.default_rng(0)
    trainer.model.set_weights([random.normal(0, 0.3, weight.shape) for weight in trainer.model.get_weights()])
    batches = [classifier_batch(5, 12, 1), classifier_batch(5, 7, 2), classifier_batch(3, 4, 3)]
    batches[1]["sample_weight"] = np.float32([1, 0, 2, 0.5, 1])
    found = trainer.evaluate(batches)
    loss = correct = count = 0.0
    for batch in batches:
        logits = trainer.model({name: batch[name] for name in ("token_ids", "segment_ids")}).numpy()
        picked = log_softmax(logits)[np.arange(len(logits)), batch["labels"]]
        loss -= np.sum(picked * batch["sample_weight"])
        correct += np.sum((logits.argmax(axis=1) == batch["labels"]) * batch["sample_weight"])
        count += batch["sample_weight"].sum()
    assert found["loss"] == pytest.approx(loss / count, rel=1e-5)
    assert found["accuracy"] == pytest.approx(correct / count)


def test_evaluation_counts_every_label_once():
    trainer = classifier_trainer()
    batches = [classifier_batch(size, length, size) for size, length in ((8, 12), (8, 5), (3, 9), (1, 2))]
    found = trainer.evaluate(batches)
    assert found["count"] == 20
    # Untrained, every class has the same score: class 0 is named everywhere.
    assert found["accuracy"] == pytest.approx(np.mean(np.concatenate([batch["labels"] for batch in batches]) == 0))
    assert found["loss"] == pytest.approx(np.log(3), rel=1e-5)


@pytest.mark.parametrize(("make", "some"), [
    (masked_lm_trainer, masked_lm_batch), (lambda: classifier_trainer(dropout=0.0), classifier_batch),
    (baseline_trainer, classifier_batch)])
def test_halves_give_the_gradients_of_the_whole_batch(make, some):
    trainer = make()
    randomise(trainer.model)
    graph = tf.function(trainer._gradients, [trainer._batch_signature(), tf.TensorSpec([])], autograph=False)
    for rows in (1, 2, 5):
        batch = {name: tf.constant(value) for name, value in some(rows).items()}
        weight = np.random.default_rng(rows).random(batch["sample_weight"].shape, np.float32)
        batch["sample_weight"] = tf.constant(weight)
        loss, gradients = trainer._gradients(batch, 1.0)  # outside of a graph nothing is split
        graph_loss, graph_gradients = graph(batch, 1.0)
        assert float(loss) == pytest.approx(float(graph_loss), rel=1e-5)
        for variable, one, other in zip(trainer.model.trainable_variables, gradients, graph_gradients, strict=True):
            assert isinstance(one, tf.IndexedSlices) == isinstance(other, tf.IndexedSlices)  # only read rows are to move
            np.testing.assert_allclose(*map(tf.convert_to_tensor, (one, other)), atol=2e-6, err_msg=variable.path)


@pytest.mark.parametrize("make", [lambda: classifier_trainer(dropout=0.0), baseline_trainer])
def test_a_row_that_was_read_often_counts_by_the_sum_of_its_gradients(make):
    batch = {name: tf.constant(value) for name, value in classifier_batch().items()}
    batch["token_ids"] = batch["token_ids"] % 2 + 5
    trainer, norms = make(), []
    model = trainer.model
    randomise(model)
    with tf.GradientTape() as tape:
        loss = keras.losses.sparse_categorical_crossentropy(
            batch["labels"], model({name: batch[name] for name in model.input}, training=False), from_logits=True)
        loss = tf.reduce_mean(loss)
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    expected = math.sqrt(sum(np.sum(np.square(tf.convert_to_tensor(gradient))) for gradient in gradients))
    trainer.run([batch], Budget(steps=1), lambda loss, norm: norms.append(norm))
    assert norms == [pytest.approx(expected, rel=1e-4)]


def test_gradients_are_clipped():
    norms, moved = [], []
    for clip_norm in (1e9, 1e-6):
        trainer = baseline_trainer(clip_norm=clip_norm)
        before = trainer.model.get_weights()
        trainer.run([classifier_batch()] * 2, Budget(steps=100), lambda loss, norm: norms.append(norm))
        moved.append(max(np.abs(new - old).max() for new, old in zip(trainer.model.get_weights(), before)))
    assert norms[0] == pytest.approx(norms[2]) and norms[0] > 0.01  # what is reported is the norm before clipping
    # Adam divides the scale out, but for its epsilon: gradients of 1e-6 move the weights visibly less.
    assert moved[1] < moved[0]


@pytest.mark.parametrize("where", ["loss", "weights"])
def test_nan_stops_the_training(where):
    trainer = baseline_trainer()
    batch = classifier_batch()
    if where == "loss":
        batch["sample_weight"][0] = np.nan
    else:
        trainer.model.set_weights([np.full_like(weight, np.nan) for weight in trainer.model.get_weights()])
    with pytest.raises(NotFiniteError, match="loss nan and gradient norm .* at step 1"):
        trainer.run([batch] * 5, Budget(steps=5), nothing)
    assert trainer.step == 1


def test_steps_end_the_training():
    trainer = baseline_trainer()
    trainer.run(iter([classifier_batch()] * 50), Budget(steps=7), nothing)
    assert trainer.step == 7
    trainer.run(iter([classifier_batch()] * 50), Budget(steps=7), nothing)
    assert trainer.step == 7
    trainer.run([classifier_batch()] * 2, Budget(steps=70), nothing)  # the batches end first
    assert trainer.step == 9


def test_time_ends_the_training_and_only_training_counts():
    trainer = baseline_trainer()
    trainer.run([classifier_batch()], Budget(steps=100), nothing)  # the first step also makes the graph
    trainer.seconds, started = 0.0, time.monotonic()
    trainer.run(iter([classifier_batch()] * 100_000), Budget(seconds=0.2), lambda *_: time.sleep(0.01))
    slept = 0.01 * (trainer.step - 1)
    assert 0.2 <= trainer.seconds <= time.monotonic() - started - slept and trainer.step > 2
    steps = trainer.step
    trainer.run(iter([classifier_batch()] * 100_000), Budget(seconds=0.2), nothing)  # already spent
    assert trainer.step == steps


def test_the_callback_may_end_the_training():
    trainer = baseline_trainer()
    trainer.run([classifier_batch()] * 9, Budget(steps=9), lambda loss, norm: trainer.step < 4)
    assert trainer.step == 4


def test_rates_follow_the_schedule():
    trainer, rates = baseline_trainer(), []
    optimizer = trainer.optimizer
    trainer.run([classifier_batch()] * 20, Budget(steps=20), lambda *_: rates.append(float(optimizer.learning_rate)))
    assert rates[0] == 0 and max(rates) <= 0.05 and rates[-1] == pytest.approx(0.05 * 0.05 / 0.94, rel=1e-4)
    assert np.argmax(rates) == 2  # 6 % of 20 steps


@pytest.mark.parametrize(("values", "message"), [
    ({}, "either steps or a time"), ({"steps": 1, "seconds": 1.0}, "either steps or a time"),
    ({"steps": 0}, "must be above 0"), ({"seconds": -1.0}, "must be above 0"),
    ({"seconds": math.inf}, "have an end"), ({"seconds": math.nan}, "have an end")])
def test_impossible_budgets(values, message):
    with pytest.raises(ValueError, match=message):
        Budget(**values)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_become_a_wish(number):
    before = signal.getsignal(number)
    with stop_signals() as stopped:
        assert not stopped()
        os.kill(os.getpid(), number)
        assert stopped()
        with pytest.raises(KeyboardInterrupt):  # the second one is an order
            os.kill(os.getpid(), number)
            time.sleep(1)
    assert signal.getsignal(number) is before


def test_handlers_come_back_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), stop_signals():
        assert signal.getsignal(signal.SIGINT) is not before
        1 / 0
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_no_handler_is_set():
    found = []

    def work():
        with stop_signals() as stopped:
            found.append(stopped())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


def test_smoothed_labels_cost_what_a_soft_target_costs():
    model = randomise(heads.masked_lm(bert.backbone(CONFIG)))
    trainer = Trainer(model, pretraining_optimizer(0.1), 0.1, label_smoothing=0.2)
    batch = masked_lm_batch()
    logits = model({name: batch[name] for name in model.input}).numpy()
    targets = 0.8 * np.eye(32)[batch["labels"]] + 0.2 / 32
    losses = -(targets * log_softmax(logits)).sum(axis=-1)
    loss, _ = trainer._train_step(batch, 0.0, 1.0)
    assert float(loss) == pytest.approx((losses * batch["sample_weight"]).sum() / batch["sample_weight"].sum(), rel=1e-5)
    plain = -np.take_along_axis(log_softmax(logits), batch["labels"][..., None], axis=-1)[..., 0]
    assert trainer.evaluate([batch])["loss"] == pytest.approx(plain[batch["sample_weight"] > 0].mean(), rel=1e-5)


def test_averaged_weights_are_the_later_ones_above_all():
    keras.utils.set_random_seed(0)
    model = baseline(BaselineConfig(32, 3, 8))
    trainer = Trainer(model, keras.optimizers.SGD(0.05), 0.05, averaging=True)
    steps = []
    trainer.run([classifier_batch(seed=seed) for seed in range(6)], Budget(steps=6),
                lambda loss, norm: steps.append(model.get_weights()))
    # The recursion of Shamir & Zhang 2013 gives the weights of step t the share t (t + 1) … (t + 7).
    shares = np.array([math.prod(range(step, step + 8)) for step in range(1, 7)], np.float64)
    with trainer.averaged():
        averages = model.get_weights()
    for average, *ws in zip(averages, *steps):
        np.testing.assert_allclose(average, np.tensordot(shares / shares.sum(), np.array(ws), 1), rtol=1e-5, atol=1e-7)
    for own, last in zip(model.get_weights(), steps[-1]):
        np.testing.assert_array_equal(own, last)


def test_before_the_first_step_there_is_nothing_to_average():
    model = baseline(BaselineConfig(32, 3, 8))
    trainer = Trainer(model, keras.optimizers.SGD(0.05), 0.05, averaging=True)
    model.set_weights([np.full_like(weight, 0.5) for weight in model.get_weights()])
    with trainer.averaged():
        assert all((weight == 0.5).all() for weight in model.get_weights())
