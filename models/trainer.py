"""A model, an optimizer and batches in, a trained model out: one loop for pretraining and fine-tuning."""

import contextlib
import dataclasses
import math
import signal
import threading
import time

import keras
import numpy as np
import tensorflow as tf

from models.optimizers import learning_rate_share


class NotFiniteError(ArithmeticError):
    """The loss or the gradient became NaN or infinite."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """How long to train: a number of steps or of seconds, exactly one of the two."""

    steps: int | None = None
    seconds: float | None = None

    def __post_init__(self):
        if (self.steps is None) == (self.seconds is None):
            raise ValueError(f"give either steps or a time. Received: steps={self.steps}, seconds={self.seconds}")
        if (self.steps or self.seconds or 0) <= 0:
            raise ValueError(f"a budget must be above 0. Received: steps={self.steps}, seconds={self.seconds}")

    def share(self, step, seconds):
        """The part of the budget that is spent; 1 or more = the training is over."""
        return step / self.steps if self.steps is not None else seconds / self.seconds


class Trainer:
    """Runs steps of one model.

    A batch is a dict of the model's inputs with "labels" int32 (…) and "sample_weight" float32 of the same shape.
    The loss is the cross-entropy, its weighted sum divided by the sum of the weights: Keras's default reduction
    would divide by all slots, padding included.

    Attributes:
        step: steps done.
        seconds: time spent on them, waiting for data included.
    """

    def __init__(self, model, optimizer, learning_rate, *, warmup=0.06, clip_norm=1.0):
        self.model = model
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.warmup = warmup
        self.clip_norm = clip_norm
        self.step = 0
        self.seconds = 0.0
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
        optimizer.build(model.trainable_variables)
        batch = self._batch_signature()
        self._train_step = tf.function(self._train_step_eagerly, [batch, tf.TensorSpec([], tf.float32)], autograph=False)
        self._evaluation_step = tf.function(self._evaluation_step_eagerly, [batch], autograph=False)

    @property
    def variables(self):
        """All that a checkpoint must hold, in a fixed order."""
        return [*self.model.variables, *self.optimizer.variables]

    def _batch_signature(self):
        """Shapes from the model, which leaves lengths open: batches of every length share one trace."""
        batch = {name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in self.model.input.items()}
        batch["labels"] = tf.TensorSpec(self.model.output.shape[:-1], tf.int32)
        batch["sample_weight"] = tf.TensorSpec(self.model.output.shape[:-1], tf.float32)
        return batch

    def _train_step_eagerly(self, batch, learning_rate):
        inputs, labels, weight = _split(batch)
        with tf.GradientTape() as tape:
            loss = self.loss(labels, self.model(inputs, training=True), weight)
        variables = self.model.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        gradients, norm = tf.clip_by_global_norm(gradients, self.clip_norm)
        self.optimizer.learning_rate.assign(learning_rate)
        self.optimizer.apply(gradients, variables)
        return loss, norm

    def _evaluation_step_eagerly(self, batch):
        labels, weight = batch["labels"], batch["sample_weight"]
        logits = self._evaluation_logits(batch)
        total = tf.reduce_sum(weight)
        correct = tf.cast(tf.argmax(logits, -1, tf.int32) == labels, tf.float32)
        return self.loss(labels, logits, weight) * total, tf.reduce_sum(correct * weight), total

    def _evaluation_logits(self, batch):
        return self.model(_split(batch)[0], training=False)

    def run(self, batches, budget, on_step):
        """Trains until the budget is spent, the batches end, or `on_step` returns False.

        Args:
            batches: iterable of batches, the first one for `self.step`.
            budget: `Budget`.
            on_step: called as `on_step(loss, gradient_norm)` after every step; its time is not counted.

        Raises:
            NotFiniteError: the loss or the gradient is NaN or infinite.
        """
        started = time.monotonic()
        for batch in batches:
            share = budget.share(self.step, self.seconds)
            if share >= 1:
                return
            rate = self.learning_rate * learning_rate_share(share, self.warmup)
            loss, norm = (float(value) for value in self._train_step(batch, rate))
            self.step += 1
            self.seconds += time.monotonic() - started
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise NotFiniteError(f"loss {loss} and gradient norm {norm} at step {self.step}")
            if on_step(loss, norm) is False:
                return
            started = time.monotonic()

    def evaluate(self, batches):
        """Measures the model on held-out batches; every weighted label counts once.

        Returns:
            dict: "loss" in nats, "accuracy", "count" (the sum of the weights).
        """
        sums = np.sum([[float(value) for value in self._evaluation_step(batch)] for batch in batches], axis=0)
        loss, correct, count = sums
        return {"loss": loss / count, "accuracy": correct / count, "count": int(round(count))}


def _split(batch):
    inputs = {name: value for name, value in batch.items() if name not in ("labels", "sample_weight")}
    return inputs, batch["labels"], batch["sample_weight"]


@contextlib.contextmanager
def stop_signals():
    """Turns SIGTERM and Ctrl-C into a wish that the loop looks at between two steps.

    Yields:
        `stopped()`: True once somebody asked to stop. A second Ctrl-C stops at once.
    """
    asked = threading.Event()

    def ask(number, frame):
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    if threading.current_thread() is not threading.main_thread():  # only there may handlers be set
        yield asked.is_set
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
