"""A public preset of KerasHub in, what fine-tuning needs of a backbone out: tokenizer, description and weights."""

import dataclasses
import os

from keras import ops

from data.tokenizer import SEP
from data.wordpiece import wordpiece_tokenizer
from models import hub


def take_over(backbone):
    """Takes over a preset of KerasHub.

    Args:
        backbone: hub: and what `models.hub.load_preset` takes.

    Returns:
        (the `Tokenizer`; {"family", "model"}, as in the config of a pretraining; the backbone, a `keras.Model`).

    Raises:
        ValueError: the preset cannot be loaded, or its vocabulary does not fit.
    """
    source, wordpiece = hub.load_preset(os.path.expanduser(backbone.removeprefix("hub:")))
    config = hub.config_of(source, SEP)
    vocabulary = wordpiece.get_vocabulary()
    if len(vocabulary) > config.vocabulary_size:
        raise ValueError("a preset's weights must have a row for each token of its vocabulary. Received: "
                         f"{backbone}, with {config.vocabulary_size} rows for {len(vocabulary)} tokens")
    tokenizer, order = wordpiece_tokenizer(vocabulary, wordpiece.lowercase, wordpiece.strip_accents)
    # The row of each of our ids; rows of no token stay at the end.
    order = [*order, *range(len(order), config.vocabulary_size)]
    embeddings = source.token_embedding.embeddings
    embeddings.assign(ops.take(embeddings, order, axis=0))
    return tokenizer, {"family": "hub", "model": dataclasses.asdict(config)}, hub.backbone(config, source=source)
