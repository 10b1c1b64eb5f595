"""A model, an optimizer and batches in, a trained model out: one loop for pretraining and fine-tuning."""

import contextlib
import dataclasses
import math
import signal
import threading
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from models.halves import halves
from models.losses import mean_cross_entropy
from models.optimizers import learning_rate_share

CPU_INFO = Path("/proc/cpuinfo")  # Linux's
AVERAGING = 8  # the last step is 9 parts of N in the average of N steps, the last tenth of them about 0.6


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
        if not 0 < (self.steps or self.seconds or 0) < math.inf:
            raise ValueError(f"a budget must be above 0 and have an end. Received: steps={self.steps}, seconds={self.seconds}")

    def share(self, step, seconds):
        """The part of the budget that is spent; 1 or more = the training is over."""
        return step / self.steps if self.steps is not None else seconds / self.seconds


class Trainer:
    """Runs steps of one model.

    A batch is a dict of the model's inputs with "labels" int32 (…) and "sample_weight" float32 of the same shape.
    The loss is `mean_cross_entropy`. A model that computes in float16 gets it scaled (Micikevicius et al. 2018, "Mixed
    precision training", section 3.2): a step whose gradients overflow moves nothing and halves the scale.

    The weights of all steps may be averaged, the later ones counting more (Shamir & Zhang 2013, "Stochastic gradient
    descent for non-smooth optimization", section 4: polynomial-decay averaging), as Vaswani et al. 2017 (section 6.1)
    average their last checkpoints.

    Attributes:
        step: steps done, one a batch; those that float16 skipped count.
        seconds: time spent on them, waiting for data included.
    """

    def __init__(self, model, optimizer, learning_rate, *, warmup=0.06, clip_norm=1.0, accumulate=1, label_smoothing=0.0,
                 averaging=False, shared=()):
        """
        Args:
            model: a functional `keras.Model` from a dict of inputs to logits.
            optimizer: a Keras optimizer.
            learning_rate: the highest one; it follows `learning_rate_share`.
            warmup: the part of the budget in which the learning rate rises.
            clip_norm: the highest global norm of a step's gradients.
            accumulate: N, the equal parts in which a step takes its batch, one after the other. The update is that of
                the whole batch; the activations of one part are in memory at a time. N must divide the batch's rows.
            label_smoothing: of `cross_entropy` in training; held-out losses are measured without.
            averaging: keep the average of the weights that `averaged` shows.
            shared: names of inputs that belong to all rows of a batch, such as a catalogue.
        """
        if model.compute_dtype == "float16":  # named, so that its checkpoints fit every training of a process
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale")
        self.model = model
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.warmup = warmup
        self.clip_norm = clip_norm
        self.accumulate = accumulate
        self.label_smoothing = label_smoothing
        self.shared = shared
        self.step = 0
        self.seconds = 0.0
        optimizer.build(model.trainable_variables)
        self.averages = [keras.Variable(variable, trainable=False, name=f"average_of_{variable.name}")
                         for variable in model.trainable_variables if averaging]
        batch, number = self._batch_signature(), tf.TensorSpec([], tf.float32)
        self._train_step = tf.function(self._train_step_eagerly, [batch, number, number], autograph=False)
        self._evaluation_step = tf.function(self._evaluation_step_eagerly, [batch], autograph=False)

    @property
    def variables(self):
        """All that a checkpoint must hold, in a fixed order."""
        return [*self.model.variables, *self.optimizer.variables, *self.averages]

    def _batch_signature(self):
        """Shapes from the model, which leaves lengths open: batches of every length share one trace."""
        batch = {name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in self.model.input.items()}
        batch["labels"] = tf.TensorSpec(self.model.output.shape[:-1], tf.int32)
        batch["sample_weight"] = tf.TensorSpec(self.model.output.shape[:-1], tf.float32)
        return batch

    def _train_step_eagerly(self, batch, learning_rate, newest):
        scale = self.optimizer.scale_loss(1.0)  # 1 for all but float16
        loss, gradients = (self._gradients if self.accumulate == 1 else self._accumulated_gradients)(batch, scale)
        gradients, norm = tf.clip_by_global_norm(gradients, self.clip_norm * scale)
        self.optimizer.learning_rate.assign(learning_rate)
        self.optimizer.apply(gradients, self.model.trainable_variables)
        for average, variable in zip(self.averages, self.model.trainable_variables):
            average.assign(average + newest * (variable - average))
        return loss, norm / scale

    def _halves(self, batch):
        return halves(batch, self.shared)

    def _gradients(self, batch, scale):
        """The mean loss over the labels of a batch, and the gradients of `scale` times that.

        Both are sums over its parts, which count by the sum of their weights.
        """
        total, losses, gradients = tf.reduce_sum(batch["sample_weight"]), [], []
        for part in self._halves(batch):
            inputs, labels, weight = _split(part)
            share = tf.math.divide_no_nan(tf.reduce_sum(weight), total)
            with tf.GradientTape() as tape:
                logits = self.model(inputs, training=True)
                loss = share * mean_cross_entropy(labels, logits, weight, self.label_smoothing)
                scaled = loss * scale
            losses.append(loss)
            gradients.append(tape.gradient(scaled, [v.value for v in self.model.trainable_variables]))
        return tf.add_n(losses), [_sum(parts) for parts in zip(*gradients)]

    def _accumulated_gradients(self, batch, scale):
        """What `_gradients` returns, computed part after part: parts count by the sum of their weights."""
        parts = {name: tf.stack(tf.split(value, self.accumulate)) for name, value in batch.items()}
        total = tf.reduce_sum(batch["sample_weight"])

        def add(sums, part):
            share = tf.math.divide_no_nan(tf.reduce_sum(part["sample_weight"]), total)
            loss, gradients = self._gradients(part, share * scale)
            return sums[0] + share * loss, [one + other for one, other in zip(sums[1], gradients)]

        nothing = [tf.zeros(variable.shape) for variable in self.model.trainable_variables]
        # One at a time: side by side they would need the memory of the whole batch. Of 8 rows of 1,024 tokens, 4 × 128,
        # a step takes 1,040 MB, in 4 parts 399 MB.
        return tf.foldl(add, parts, (0.0, nothing), parallel_iterations=1)

    def _evaluation_step_eagerly(self, batch):
        """The sum of the losses, of the weights whose label is found, and of all weights."""
        sums = []
        for part in self._halves(batch):
            labels, weight = part["labels"], part["sample_weight"]
            logits = self._evaluation_logits(part)
            total = tf.reduce_sum(weight)
            correct = tf.cast(tf.argmax(logits, -1, tf.int32) == labels, tf.float32)
            sums.append((mean_cross_entropy(labels, logits, weight) * total, tf.reduce_sum(correct * weight), total))
        return [tf.add_n(parts) for parts in zip(*sums)]

    def _evaluation_logits(self, batch):
        return self.model(_split(batch)[0], training=False)

    def run(self, batches, budget, on_step):
        """Trains until the budget is spent, the batches end, or `on_step` returns False.

        Args:
            batches: iterable of batches, the first one for `self.step`.
            budget: `Budget`.
            on_step: called as `on_step(loss, gradient_norm)` after every step; its time is not counted. The norm is
                not finite where float16 skipped the step.

        Raises:
            NotFiniteError: the loss or the gradient is NaN or infinite; in float16, even with a loss scaled by 1.
        """
        started = time.monotonic()
        for batch in batches:
            share = budget.share(self.step, self.seconds)
            if share >= 1:
                return
            rate = self.learning_rate * learning_rate_share(share, self.warmup)
            newest = (AVERAGING + 1) / (AVERAGING + 1 + self.step)  # share of this step's weights in the average
            loss, norm = (float(value) for value in self._train_step(batch, rate, newest))
            self.step += 1
            self.seconds += time.monotonic() - started
            finite = math.isfinite(loss) and math.isfinite(norm)
            if not finite and float(self.optimizer.scale_loss(1.0)) <= 1:
                raise NotFiniteError(f"loss {loss} and gradient norm {norm} at step {self.step}")
            if on_step(loss, norm) is False:
                return
            started = time.monotonic()

    @contextlib.contextmanager
    def averaged(self):
        """As long as this lasts the model has its averaged weights, if there are any; then its own again."""
        own = [variable.numpy() for variable in self.model.trainable_variables] if self.averages and self.step else []
        for variable, average in zip(self.model.trainable_variables, self.averages if own else []):
            variable.assign(average)
        try:
            yield
        finally:
            for variable, value in zip(self.model.trainable_variables, own):
                variable.assign(value)

    def evaluate(self, batches):
        """Measures the model on held-out batches; every weighted label counts once.

        Returns:
            dict: "loss" in nats, "accuracy", "count" (the sum of the weights).
        """
        sums = np.sum([[float(value) for value in self._evaluation_step(batch)] for batch in batches], axis=0)
        loss, correct, count = sums
        return {"loss": loss / count, "accuracy": correct / count, "count": int(round(count))}


def fast_precision():
    """The precision to train in on this machine, if nobody says otherwise.

    NVIDIA GPUs multiply bfloat16 in hardware from compute capability 8.0 (Ampere) on, CPUs with Intel's matrix
    extensions (AMX: Xeon from the fourth generation on), many times faster than float32 and over the same range of
    numbers. Others, and those that do not tell, stay with float32.

    Returns:
        "bfloat16" or "float32".
    """
    if gpus := tf.config.list_physical_devices("GPU"):
        capabilities = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus]
        return "bfloat16" if min(capabilities) >= (8, 0) else "float32"
    return "bfloat16" if CPU_INFO.exists() and " amx_bf16" in CPU_INFO.read_text(encoding="utf-8") else "float32"


def _sum(gradients):
    """The sum of one variable's gradients; of an embedding those rows that were read, each once.

    TensorFlow gives a part for every time that a row was read: squared one by one, by a norm or by Adam, they would be
    too little.
    """
    if not isinstance(gradients[0], tf.IndexedSlices):
        return tf.add_n(gradients)
    rows, places = tf.unique(tf.concat([gradient.indices for gradient in gradients], 0))
    values = tf.concat([gradient.values for gradient in gradients], 0)
    return tf.IndexedSlices(tf.math.unsorted_segment_sum(values, places, tf.size(rows)), rows, gradients[0].dense_shape)


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
