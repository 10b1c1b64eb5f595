"""How the learning rate moves over a training, and the optimizer of pretraining."""

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
