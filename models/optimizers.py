"""Variables in, optimizers out: which variable learns how fast, and how the learning rate moves over a training."""

import keras
import tensorflow as tf


def learning_rate_share(share, warmup=0.06):
    """How much of the highest learning rate applies: a linear rise, then a linear fall to zero.

    Args:
        share: the part of the training's budget (steps or time) that is spent, in [0, 1].
        warmup: the part of the budget in which the learning rate rises.

    Returns:
        float in [0, 1].
    """
    if share < warmup:
        return share / warmup
    return max(0.0, (1 - share) / (1 - warmup))


def pretraining_optimizer(learning_rate):
    """Muon on the hidden matrices, AdamW on embeddings, norms and biases.

    Muon (Jordan et al. 2024; scaled as in Liu et al. 2025, arXiv 2502.16982) orthogonalises each matrix's momentum.
    """
    # Named, since Keras would count: a checkpoint must fit the second training of a notebook as well as the first.
    return keras.optimizers.Muon(learning_rate, weight_decay=0.01, adam_weight_decay=0.01, adam_beta_2=0.98,
                                 name="muon")


class LayerwiseAdamW(keras.optimizers.AdamW):
    """AdamW with a learning rate of its own for each depth (Howard & Ruder 2018, section 3.2, "discriminative").

    The head learns at the full rate, every layer below it at `decay` times the rate of the one above. Of an embedding
    table only the rows that a batch has used move, and their moments: most of a large table costs nothing. Weights
    decay at the full rate; biases, norms and embeddings do not.
    """

    def __init__(self, learning_rate, depths, decay=1.0, weight_decay=0.01):
        """
        Args:
            learning_rate: the highest learning rate.
            depths: list of lists of variables, from the head downwards.
            decay: in (0, 1]; 1 = the same rate everywhere.
        """
        super().__init__(learning_rate, weight_decay=weight_decay, beta_2=0.98, name="layerwise_adamw")
        self.exclude_from_weight_decay(var_names=["bias", "scale", "norm", "embedding"])
        self.build(sum(depths, []))
        self.factors = [decay**depth for depth, variables in enumerate(depths) for _ in variables]

    def update_step(self, gradient, variable, learning_rate):
        number = self._get_variable_index(variable)
        learning_rate *= self.factors[number]
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        rows, places = tf.unique(gradient.indices)
        gradient = tf.math.unsorted_segment_sum(gradient.values, places, tf.size(rows))
        momentum, velocity = self._momentums[number].value, self._velocities[number].value
        first = self.beta_1 * tf.gather(momentum, rows) + (1 - self.beta_1) * gradient
        second = self.beta_2 * tf.gather(velocity, rows) + (1 - self.beta_2) * gradient**2
        step = tf.cast(self.iterations.value + 1, tf.float32)
        corrected = learning_rate * tf.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
        momentum.scatter_update(tf.IndexedSlices(first, rows))
        velocity.scatter_update(tf.IndexedSlices(second, rows))
        variable.scatter_sub(tf.IndexedSlices(corrected * first / (tf.sqrt(second) + self.epsilon), rows))


def depths(model, num_layers):
    """A classifier's variables by depth, from the head down to the embeddings.

    Returns:
        list of num_layers + 2 lists: the head with the final norm, the layers from the last to the first, the
        embeddings.
    """
    groups = [[] for _ in range(num_layers + 2)]
    for variable in model.trainable_variables:
        name = variable.path
        layer = next((n for n in range(num_layers) if f"layer_{n}_" in name), None)
        if layer is not None:
            groups[num_layers - layer].append(variable)
        else:
            groups[-1 if "embedding" in name or "mixing" in name else 0].append(variable)
    return groups
