"""A classifier's variables in, the optimizer of its fine-tuning out: by depth for encoders, by rows for the baseline."""

import keras
import tensorflow as tf

# Times the dense layers' learning rate and the batch size, by which a row's gradient is divided here and not in
# fastText: at the default of 2e-3 a text moves its rows at a rate of 0.2, where fastText's is 0.1 by default.
ROW_RATE = 100.0


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


class BagOptimizer(keras.optimizers.AdamW):
    """AdamW on the baseline's dense layers, plain gradient descent on the rows of its tables.

    A frequent token then moves further than a rare one, as in fastText (Joulin et al. 2017); Adam, which lets both
    move alike, overfits the rare ones. Questions of TREC, development split, mean of 3 seeds: .867 with AdamW, .876 so.
    """

    def __init__(self, learning_rate, variables, batch_size):
        super().__init__(learning_rate, weight_decay=0.01, beta_2=0.98, name="bag_optimizer")
        self.row_rate = ROW_RATE * batch_size
        self.exclude_from_weight_decay(var_names=["bias", "embedding"])
        self.build(variables)

    def update_step(self, gradient, variable, learning_rate):
        if isinstance(gradient, tf.IndexedSlices):
            variable.scatter_sub(tf.IndexedSlices(self.row_rate * learning_rate * gradient.values, gradient.indices))
        else:
            super().update_step(gradient, variable, learning_rate)
