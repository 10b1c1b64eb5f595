"""The baseline's trainer computes what its model does, moves rows as a plain loop would, and tells rows apart."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from data.batching import EncodedExamples
from models import bag_trainer
from models.bag_trainer import MOST_TOKENS, BagTrainer, bag_rows, row_rates
from models.baseline import BaselineConfig, baseline
from models.trainer import Budget, NotFiniteError

CONFIG = BaselineConfig(vocabulary_size=32, num_classes=3, embedding_dim=4, num_buckets=50, longest_ngram=3)


def some_encoded(count=23, seed=0):
    random = np.random.default_rng(seed)
    return EncodedExamples([random.integers(1, 32, random.integers(1, 9)).astype(np.int32) for _ in range(count)],
                           random.integers(0, 3, count).astype(np.int32))


def some_trainer(encoded, config=CONFIG, weights=None, rate=0.1, batch_size=4):
    keras.utils.set_random_seed(0)
    model = baseline(config)
    bags = dataclasses.replace(encoded, rows=bag_rows(encoded.rows, config))
    return BagTrainer(model, bags.flat(range(len(bags)), weights), rate, batch_size), bags


@pytest.mark.parametrize("config", [CONFIG, dataclasses.replace(CONFIG, longest_ngram=2),
                                    dataclasses.replace(CONFIG, num_buckets=0)])
def test_without_padding_the_model_says_the_same(config):
    encoded = some_encoded()
    trainer, bags = some_trainer(encoded, config)
    random = np.random.default_rng(1)
    trainer.model.set_weights([random.normal(size=weight.shape) for weight in trainer.model.get_weights()])
    padded = encoded.batch(range(len(encoded)))
    padded["segment_ids"] = (padded["token_ids"] > 0).astype(np.int32)  # these texts have no [CLS]
    logits = trainer.model({name: padded[name] for name in trainer.model.input})
    np.testing.assert_allclose(trainer._evaluation_logits(bags.flat(range(len(bags)))), logits, atol=1e-5)
    found = trainer.evaluate(bags.flat_in_order(10))
    assert found["count"] == 23
    assert found["accuracy"] == pytest.approx(np.mean(np.argmax(logits, axis=1) == encoded.labels))
    losses = keras.losses.sparse_categorical_crossentropy(encoded.labels, logits, from_logits=True)
    assert found["loss"] == pytest.approx(float(np.mean(losses)), rel=1e-5)


def small_steps(lengths, most_texts, most_tokens):
    """Texts one after another, until there are enough of them or of their tokens; at least one."""
    steps = [[]]
    for number, length in enumerate(lengths):
        if steps[-1] and (len(steps[-1]) == most_texts or lengths[steps[-1]].sum() + length > most_tokens):
            steps.append([])
        steps[-1].append(number)
    return steps


@pytest.mark.parametrize(("most_tokens", "most_texts"), [(MOST_TOKENS, 32.0), (10, 32.0), (MOST_TOKENS, 2.0)])
def test_a_stretch_is_a_loop_of_plain_descent(monkeypatch, most_tokens, most_texts):
    monkeypatch.setattr(bag_trainer, "MOST_TOKENS", most_tokens)
    monkeypatch.setattr(bag_trainer, "DENSE_TEXTS", most_texts)
    encoded, weights = some_encoded(), np.float32([0.5, 1.0, 2.0])
    trainer, bags = some_trainer(encoded, weights=weights)
    batch = bags.flat(range(len(bags)), weights)
    reference = keras.models.clone_model(trainer.model)
    reference.set_weights(trainer.model.get_weights())
    losses, tables = [], {"token": 0, "bigram": 1, "trigram": 2}
    for numbers in small_steps(batch["lengths"], 4, most_tokens):
        padded = encoded.batch(numbers, weights)
        inputs = {"token_ids": padded["token_ids"], "segment_ids": (padded["token_ids"] > 0).astype(np.int32)}
        with tf.GradientTape() as tape:
            each = keras.losses.sparse_categorical_crossentropy(padded["labels"], reference(inputs), from_logits=True)
            total = tf.reduce_sum(each * padded["sample_weight"])
        losses.append(float(total))
        variables = reference.trainable_variables
        for variable, gradient in zip(variables, tape.gradient(total, [v.value for v in variables])):
            gradient = tf.convert_to_tensor(gradient)
            if "embedding" in variable.path:
                rates = trainer._row_rates[tables[variable.path.split("_")[0]]][:, None]
                variable.assign_sub(0.1 * rates * gradient)
            else:
                weight = padded["sample_weight"].sum()
                variable.assign_sub(0.1 * gradient * min(weight, most_texts) / weight)
    found = []
    trainer.run([batch], Budget(steps=1), lambda loss, norm: found.append(loss))
    assert found == [pytest.approx(sum(losses) / batch["sample_weight"].sum(), rel=1e-4)]
    for variable, expected in zip(trainer.model.variables, reference.variables):
        np.testing.assert_allclose(variable, expected, atol=1e-5, err_msg=variable.path)


def test_rows_move_by_what_they_say_about_the_class():
    # Row 0 stands in every text, row 1 in those of class 0 alone, row 2 in one text, row 3 in none.
    rows, labels = np.int32([0, 0, 0, 0, 1, 1, 2]), np.int32([0, 0, 1, 1, 0, 0, 1])
    weights = np.float32([1, 1, 1, 1, 1, 1, 1])
    (found,) = row_rates([rows], labels, weights, [4])
    prior = np.array([4, 3]) / 7

    def divergence(counts):
        shares = (np.array(counts) + prior) / (sum(counts) + 1)
        return sum(share * np.log(share / other) for share, other in zip(shares, prior))

    expected = np.array([divergence(counts) for counts in ([2, 2], [2, 0], [0, 1], [0, 0])])
    np.testing.assert_allclose(found, 0.1 + 0.9 * expected / np.mean(expected[rows]), rtol=1e-5)
    assert found[rows].mean() == pytest.approx(1) and found[3] == np.float32(0.1) < found[0] < found[1]
    for classes in (2, 3):
        (nothing_to_tell,) = row_rates([np.tile(np.int32([0, 2]), 30)], np.repeat(np.arange(30) % classes, 2),
                                       np.ones(60, np.float32), [3])
        np.testing.assert_allclose(nothing_to_tell, 0.1)
    # A class without weight counts as one that is not there.
    (without,) = row_rates([np.append(rows, 3)], np.append(labels, 2), np.append(weights, 0.0), [4])
    np.testing.assert_allclose(without, found, rtol=1e-5)


def test_training_is_a_function_of_the_seed_and_learns():
    # Long texts: their sums must not depend on how many threads add them up.
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 60).astype(np.int32)
    encoded = EncodedExamples([np.append(random.integers(1, 29, 270), [29 + label] * 30).astype(np.int32)
                               for label in labels], labels)
    weights = []
    for seed in (0, 0, 1):
        trainer, bags = some_trainer(encoded, batch_size=32)
        trainer.run(bags.stretches(24, seed), Budget(steps=40), lambda loss, norm: True)
        weights.append(trainer.model.get_weights())
        assert trainer.evaluate(bags.flat_in_order(60))["accuracy"] > 0.9
    assert all(np.array_equal(one, other) for one, other in zip(weights[0], weights[1]))
    assert not all(np.array_equal(one, other) for one, other in zip(weights[0], weights[2]))


def test_nan_stops_the_training():
    trainer, bags = some_trainer(some_encoded())
    trainer.model.set_weights([np.full_like(weight, np.nan) for weight in trainer.model.get_weights()])
    with pytest.raises(NotFiniteError, match="loss nan and gradient norm .* at step 1"):
        trainer.run(bags.stretches(8, 0), Budget(steps=5), lambda loss, norm: True)
