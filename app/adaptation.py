"""A pretrained encoder and a task's texts in, the encoder used to those texts out: more masked LM, before any label.

Gururangan et al. 2020, "Don't stop pretraining", section 4: task-adaptive pretraining.
"""

from pathlib import Path

from app.objectives import OBJECTIVES, build_trainer
from app.terminal import progress_bar
from data.order import training_rows
from data.packing import open_rows, pack_documents
from models.config import TransformerConfig, from_dict
from models.run_folder import load_config
from models.trainer import NotFiniteError

LEARNING_RATE = 2e-3  # untuned: less than pretraining's, or what the backbone knows would be lost
BATCH_SIZE = 32


def adapt(backbone, texts, tokenizer, budget, folder, seed, stopped):
    """Goes on with the pretraining of a backbone on other texts.

    Args:
        backbone: the run folder of a pretraining.
        texts: list of strings.
        tokenizer: the backbone's `Tokenizer`.
        budget: `models.trainer.Budget`, packing not counted.
        folder: where the rows and "backbone.weights.h5" go.
        seed: of the order and the masks.
        stopped: True when the user asked to stop.

    Raises:
        ValueError: the training did not stay finite.
    """
    pretrained = load_config(backbone, "masked_lm")
    config, objective = from_dict(TransformerConfig, pretrained["model"]), pretrained["options"]["objective"]
    path = Path(folder) / "train.rows"
    with progress_bar("pack", len(texts), "texts") as advance:
        num_rows, _ = pack_documents(texts, tokenizer, path, config.sequence_length, advance)
    rows = open_rows(path, config.sequence_length, config.vocabulary_size, num_rows)
    encoder, trainer = build_trainer(config, LEARNING_RATE, seed, objective=objective)
    trainer.model.load_weights(Path(backbone) / "masked_lm.weights.h5")
    spent, whole = 0.0, budget.steps or budget.seconds
    with progress_bar("adapt", whole, "steps" if budget.steps else "s") as advance:
        def after_step(loss, gradient_norm):
            nonlocal spent
            share = min(1.0, budget.share(trainer.step, trainer.seconds))
            advance((share - spent) * whole, f"step {trainer.step:,}, loss {loss:.3f}")
            spent = share
            return not stopped()

        examples = OBJECTIVES[objective].examples(training_rows(rows, seed, 0, BATCH_SIZE), seed, config.vocabulary_size)
        try:
            trainer.run(examples, budget, after_step)
        except NotFiniteError as error:
            raise ValueError(f"--adapt-minutes must stay finite on these texts. Received: {error}. Leave it out, or take "
                             "another --backbone") from None
    encoder.save_weights(Path(folder) / "backbone.weights.h5")
