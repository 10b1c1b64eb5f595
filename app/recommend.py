"""Tables of what people chose, with titles as text, in, a recommender out."""

import dataclasses
import math
from pathlib import Path

from app.terminal import as_tuple, check_at_least, check_learning_rate, check_share, console, load_tensorflow, warn

NUM_EPOCHS, MINIMUM_STEPS = 10, 300
VOCABULARY_SIZE = 8192  # of the titles


def recommend(
    *,
    data: tuple[str, ...],
    to: Path,
    items: tuple[str, ...] = (),
    user_column: str | None = None,
    item_column: str | None = None,
    time_column: str | None = None,
    title_column: str | None = None,
    genres_column: str | None = None,
    num_epochs: int | None = None,
    minutes: float | None = None,
    hidden_dim: int = 64,
    num_layers: int = 2,
    num_heads: int = 1,
    sequence_length: int = 200,
    title_length: int = 32,
    batch_size: int = 32,
    learning_rate: float = 1e-2,
    dropout: float = 0.3,
    unknown_share: float = 0.2,
    checkpoint_every: int = 200,
    seed: int = 0,
    max_skipped: int = 1000,
) -> dict:
    """Trains a recommender on what people chose. The same command again goes on where it stopped.

    Every row is a choice. Of each user the last item is left for evaluate, the last but one measures while training,
    the ones before train. A user of fewer than 3 different items takes no part.

    Args:
        data: sources with a column of users and one of items, and where there are any of times (numbers or dates;
            without them the order of the rows counts) and of titles: files, globs, folders.
        to: the run folder, for example runs/films.
        items: sources with a column of items and one of titles, if the data has none; genres join the title. Items that
            nobody chose can be recommended too.
        user_column: found by its name if not given, as are the next four.
        item_column: what identifies an item.
        time_column: orders each user's items.
        title_column: an item without a title is called by what identifies it.
        genres_column: words about the item that follow its title.
        num_epochs: train so often on every user; if neither this nor minutes are given 10, and 300 steps at least.
        minutes: train for so long instead; time spent before an interruption counts.
        hidden_dim: width of the vectors.
        num_layers: of the Transformer that reads histories.
        num_heads: of its attention.
        sequence_length: the longest history, in items; of a longer one the end, in training any stretch.
        title_length: the longest title, in pieces.
        batch_size: users in a batch; memory grows with users × items × length of history.
        learning_rate: the highest one; it rises over the first 6 % of the training and falls to 0.
        dropout: share of activations dropped in training.
        unknown_share: share of the items that a step knows by their titles alone, so that new ones can be recommended.
        checkpoint_every: steps between two checkpoints.
        seed: of the initial weights and the order of the users.
        max_skipped: stop after so many unreadable rows.
    """
    check_at_least(1, batch_size=batch_size, checkpoint_every=checkpoint_every, title_length=title_length)
    check_at_least(1, num_epochs=NUM_EPOCHS if num_epochs is None else num_epochs)
    check_at_least(2, sequence_length=sequence_length)
    check_at_least(0, seed=seed)
    check_learning_rate(learning_rate)
    check_share(unknown_share=unknown_share)
    if num_epochs is not None and minutes is not None:
        raise ValueError(f"give either --num-epochs or --minutes. Received: {num_epochs} and {minutes}")
    to, data, items = Path(to), as_tuple(data), as_tuple(items)
    from models.run_folder import check_free

    check_free(to)
    load_tensorflow()
    import keras
    import tensorflow as tf

    from app.history import History
    from app.recommender import CATALOGUE, WEIGHTS, Recommender
    from app.training import claim, resume, train
    from data.histories import build_catalogue, encode_titles, held_out_batches, training_batches
    from data.interactions import long_enough, read_interactions
    from data.sources import SkippedRows, fingerprint
    from data.vocabulary import train_tokenizer
    from models import run_folder
    from models.config import TransformerConfig
    from models.optimizers import pretraining_optimizer
    from models.recommender import recommender
    from models.trainer import Budget, Trainer

    skipped = SkippedRows(max_skipped)
    columns = {"user": user_column, "item": item_column, "time": time_column, "title": title_column,
               "genres": genres_column}
    interactions, short = long_enough(read_interactions(data, skipped, items=items, columns=columns))
    histories = [history[:-1] for history in interactions.histories]  # the last one is for evaluate
    training = [history[:-1] for history in histories]
    catalogue = build_catalogue(interactions, training)
    histories, training = catalogue.rows(histories), catalogue.rows(training)
    per_epoch = math.ceil(len(training) / batch_size)
    if minutes is not None:
        budget = Budget(seconds=60 * minutes)
    else:
        budget = Budget(steps=num_epochs * per_epoch if num_epochs else max(NUM_EPOCHS * per_epoch, MINIMUM_STEPS))
    tokenizer = train_tokenizer(catalogue.texts[1:], VOCABULARY_SIZE)
    config = TransformerConfig(
        vocabulary_size=catalogue.num_known, hidden_dim=hidden_dim, num_layers=num_layers, num_heads=num_heads,
        intermediate_dim=4 * hidden_dim, sequence_length=sequence_length, dropout=dropout)
    options = {"data": [*map(fingerprint, data)], "items": [*map(fingerprint, items)], "columns": columns,
               "model": dataclasses.asdict(config), "title_length": title_length, "tokenizer": tokenizer.sha256,
               "batch_size": batch_size, "learning_rate": learning_rate, "unknown_share": unknown_share, "seed": seed,
               "budget": dataclasses.asdict(budget)}
    claim(to, options, tokenizer)
    repeated = interactions.repeated
    console.print(f"{len(training):,} users, {sum(map(len, training)):,} choices to train on, "
                  f"{catalogue.num_known - 1:,} different items, {len(catalogue.items) - 1:,} in the catalogue"
                  + (f"; {short:,} users of fewer than 3 items left out" if short else "")
                  + (f"; {repeated:,} choices of an item chosen before left out" if repeated else "")
                  + (f"; skipped: {skipped}" if skipped.total else ""), markup=False)
    if without := sum(item not in interactions.titles for item in catalogue.row_of):
        warn(f"{without:,} of {len(catalogue.row_of):,} items have no title: their name stands for it")

    keras.utils.set_random_seed(seed)
    model = recommender(config, tokenizer.vocabulary_size)
    trainer = Trainer(model, pretraining_optimizer(learning_rate), learning_rate, shared=("item_numbers", "title_ids"))
    losses = resume(to, trainer)
    console.print(f"recommender {num_layers} × {hidden_dim}, {model.count_params():,} parameters"
                  + (f"; going on at step {trainer.step:,}" if trainer.step else ""))
    title_ids = encode_titles(tokenizer, tf.constant(catalogue.texts), title_length).numpy()
    batches = training_batches(training, title_ids[: catalogue.num_known], batch_size=batch_size,
                               length=sequence_length, unknown_share=unknown_share, seed=seed, step=trainer.step)
    validation = held_out_batches(histories, catalogue, title_ids, batch_size=2 * batch_size, length=sequence_length)
    history = History(to, trainer, tokenizer, validation, round(batch_size * sum(map(len, training)) / len(training)),
                      losses, lambda model, tokenizer, batch, count: _guesses(model, catalogue, batch, count))
    result = train(to, trainer, batches, budget, history, checkpoint_every)
    with run_folder.whole(to / WEIGHTS) as path:
        model.save_weights(path)
    run_folder.write_json(to / CATALOGUE, dataclasses.asdict(catalogue))
    ranking = _validation_ranking(Recommender(model, tokenizer, catalogue, title_length, sequence_length), histories)
    result = {**result, **{f"validation_{name}": value for name, value in ranking.items()}}
    run_folder.save_config(to, "recommender", model=dataclasses.asdict(config), title_length=title_length,
                           options=options, **result)
    console.print(f"saved {to}: {trainer.step:,} steps in {trainer.seconds / 60:.1f} minutes. Each user's last item "
                  f"but one among all items: HR@10 {ranking['hr']:.3f}, NDCG@10 {ranking['ndcg']:.3f}. "
                  f'Next: fromzero predict {to} "{catalogue.titles[1]}"', markup=False)
    return result


def _guesses(model, catalogue, batch, count):
    """Of a few held-out users the last three items, the model's best guess at the next, and what it was."""
    import numpy as np

    logits = np.asarray(model({name: batch[name] for name in model.input}, training=False))[:count]  # (n, L, R)
    lines = []
    for row, before, labels in zip(logits, batch["history"], batch["labels"]):
        last = np.count_nonzero(labels) - 1
        guess, label = catalogue.titles[int(row[last].argmax())], catalogue.titles[labels[last]]
        seen = ", ".join(catalogue.titles[item] for item in before[max(1, last - 2) : last + 1])
        lines.append(f"{seen} → [{guess}]" if guess == label else f"{seen} → [{guess}|{label}]")
    return lines


def _validation_ranking(recommender, histories):
    """HR@10 and NDCG@10 of each history's last item among all items but those before it."""
    import numpy as np

    from app.recommender_scores import rankings

    rows = np.arange(len(recommender.catalogue.items))
    return rankings({"recommender": recommender.scores}, histories, rows > 0)["recommender"]
