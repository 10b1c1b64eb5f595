"""A classifier's variables in, the optimizer of its fine-tuning out: learning rates by depth."""

import re

import keras
import tensorflow as tf


class LayerwiseAdamW(keras.optimizers.AdamW):
    """AdamW with a learning rate of its own for each depth (Howard & Ruder 2018, section 3.2, "discriminative").

    The head learns at the full rate, every layer below it at `decay` times the rate of the one above. Of an embedding
    table only the rows that a batch has used move, and their moments: most of a large table costs nothing. Its gradient
    must have each row once, as `models.trainer.Trainer` makes it. Weights decay at the full rate; biases, norms and
    embeddings do not.
    """

    def __init__(self, learning_rate, depths, decay=1.0, weight_decay=0.01):
        """
        Args:
            learning_rate: the highest learning rate.
            depths: list of lists of variables, from the head downwards.
            decay: in (0, 1]; 1 = the same rate everywhere.
        """
        super().__init__(learning_rate, weight_decay=weight_decay, beta_2=0.98, name="layerwise_adamw")
        self.exclude_from_weight_decay(var_names=["bias", "scale", "norm", "embedding", "gamma", "beta"])
        self.build(sum(depths, []))
        self.factors = [decay**depth for depth, variables in enumerate(depths) for _ in variables]

    def update_step(self, gradient, variable, learning_rate):
        number = self._get_variable_index(variable)
        learning_rate *= self.factors[number]
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        rows, gradient = gradient.indices, gradient.values
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
        layer = re.search("layer_([0-9]+)[_/]", name)
        if layer:
            groups[num_layers - int(layer[1])].append(variable)
        else:
            groups[-1 if "embedding" in name or "mixing" in name else 0].append(variable)
    return groups
