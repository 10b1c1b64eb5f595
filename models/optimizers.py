"""Variables in, optimizers out: which variable learns how fast, and how the learning rate moves over a training."""

import keras


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


class LayerwiseAdamW:
    """AdamW with a learning rate of its own for each depth (Howard & Ruder 2018, section 3.2, "discriminative").

    The head learns at the full rate, every layer below it at `decay` times the rate of the one above.
    Has the part of the interface of `keras.optimizers.Optimizer` that the trainer uses.
    """

    def __init__(self, learning_rate, depths, decay, weight_decay=0.01):
        """
        Args:
            learning_rate: the highest learning rate.
            depths: list of lists of variables, from the head downwards.
            decay: in (0, 1]; 1 = the same rate everywhere.
        """
        depths = [variables for variables in depths if variables] if decay < 1 else [sum(depths, [])]
        self.factors = [decay**depth for depth in range(len(depths))]
        self.depths = depths
        self.optimizers = [keras.optimizers.AdamW(learning_rate * factor, weight_decay=weight_decay, beta_2=0.98)
                           for factor in self.factors]
        for optimizer, variables in zip(self.optimizers, depths):
            optimizer.exclude_from_weight_decay(var_names=["bias", "scale", "norm"])
            optimizer.build(variables)

    @property
    def variables(self):
        return [variable for optimizer in self.optimizers for variable in optimizer.variables]

    def set_learning_rate(self, learning_rate):
        for optimizer, factor in zip(self.optimizers, self.factors):
            optimizer.learning_rate.assign(learning_rate * factor)

    def apply(self, gradients, variables):
        gradient_of = {id(variable): gradient for gradient, variable in zip(gradients, variables)}
        for optimizer, group in zip(self.optimizers, self.depths):
            optimizer.apply([gradient_of[id(variable)] for variable in group], group)


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
