"""What a backbone is pretrained for, by name, and its trainer: what pretraining and its benchmarks share."""

import dataclasses
import math
import time
from collections.abc import Callable

import keras
import numpy as np

from app.history import continuations, fillings, guesses
from app.terminal import progress_bar
from data import causal, denoising, masking
from data.cooccurrence import token_vectors
from models import bert, gpt, heads, seq2seq
from models.optimizers import pretraining_optimizer
from models.precision import computing_in
from models.trainer import Trainer

# In training; losses are measured at the usual 0.15. Two layers of width 128, 800 steps of 16 × 128 tokens, held-out loss
# of two seeds: 0.15 4.725 and 4.729, 0.2 4.637 and 4.635 for a twelfth more time (4 layers, 16,384 pieces). In 28 %
# more steps 0.15 reaches 4.645 and 4.632.
MASK_RATE = 0.2
# Mean length of the vectors that embeddings start from. Two layers of width 128, 500 steps of 32 × 48 tokens, held-out
# loss: random start 5.12; 0.23 4.96, 0.68 4.86, 2.3 4.74, 5.7 4.73, 11 4.86 (English and Chinese, one seed).
START_LENGTH = 2.3


@dataclasses.dataclass(frozen=True)
class Objective:
    """A family, the head it is trained with and the examples it is trained on.

    Attributes:
        kind: of the run folder, which holds KIND.weights.h5.
        family: the name of the model's family.
        backbone: as `models.bert.backbone`.
        head: `head(backbone, config)` → the model that is trained.
        examples: `examples(dataset of (step, rows), seed, V)` → dataset of batches for `models.trainer.Trainer`.
        validation: `validation(rows, V, batch size)` → list of such batches, the same every time.
        shown: `shown(model, tokenizer, batch, count)` → lines that show a person what the model has learned.
        averaging: of weights, as for `Trainer`. 4 × 192, 3,800 to 9,750 steps of 4,096 tokens on WikiText-2: it lowers a
            GPT's held-out loss by .01; a masked language model's stays where it is.
    """

    kind: str
    family: str
    backbone: Callable
    head: Callable
    examples: Callable
    validation: Callable
    shown: Callable
    averaging: bool


OBJECTIVES = {
    "mlm": Objective("masked_lm", "bert", bert.backbone, lambda backbone, config: heads.masked_lm(backbone),
                     lambda dataset, seed, size: masking.masked_examples(dataset, seed, size, MASK_RATE),
                     masking.validation_examples, guesses, averaging=False),
    "clm": Objective("causal_lm", "gpt", gpt.backbone, lambda backbone, config: heads.causal_lm(backbone),
                     lambda dataset, seed, size: causal.causal_examples(dataset),
                     lambda rows, size, batch_size: causal.validation_examples(rows, batch_size), continuations,
                     averaging=True),
    "denoise": Objective("denoiser", "seq2seq", bert.backbone, seq2seq.encoder_decoder,
                         lambda dataset, seed, size: denoising.denoising_examples(dataset, seed),
                         lambda rows, size, batch_size: denoising.validation_examples(rows, batch_size), fillings,
                         averaging=True),
}


def build_trainer(config, learning_rate, seed, *, objective="mlm", precision="float32", rematerialise=False,
                  accumulate=1):
    """A backbone with random weights and what trains it.

    Args:
        config: `TransformerConfig`.
        seed: of the weights.
        objective: a name of `OBJECTIVES`.
        precision, rematerialise, accumulate: as for `app.pretrain.pretrain`.

    Returns:
        (the backbone, `Trainer` of the language model on it).
    """
    keras.utils.set_random_seed(seed)
    objective = OBJECTIVES[objective]
    with computing_in(precision):
        backbone = objective.backbone(config, rematerialise=rematerialise)
        model = objective.head(backbone, config)
    return backbone, Trainer(model, pretraining_optimizer(learning_rate), learning_rate, accumulate=accumulate,
                             averaging=objective.averaging)


def start_from_neighbours(backbone, trainer, rows, seed):
    """Puts vectors of the tokens' neighbourhoods into the embedding; tokens without any keep their random ones.

    The time that takes is part of the trainer's.

    Args:
        rows: int (N, L), the training rows.
    """
    started = time.monotonic()
    embedding = backbone.get_layer("token_embedding").embeddings
    vocabulary_size, hidden_dim = embedding.shape
    with progress_bar("count neighbours", len(rows), "rows") as advance:
        vectors = token_vectors(rows, vocabulary_size, hidden_dim, seed, advance)
    used = np.abs(vectors).max(axis=1, keepdims=True) > 0  # (V, 1)
    embedding.assign(np.where(used, vectors * START_LENGTH / math.sqrt(hidden_dim), embedding))
    trainer.seconds += time.monotonic() - started
