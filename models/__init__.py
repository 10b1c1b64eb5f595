"""Token ids to a trained run: config, layers, families, heads, optimizers, trainer, run folder."""
