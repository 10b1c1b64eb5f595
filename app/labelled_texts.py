"""Labelled sources in, the examples to learn from and those to stop by out."""

from data.tasks import few_labels, read_examples, split, without, without_duplicates


def training_examples(data, validation, validation_share, labels, task, columns, seed, skipped):
    """Reads labelled sources for a training.

    Args:
        data, validation: tuples of sources; of no validation, `validation_share` of the data takes its place.
        labels: learn from only so many; None = from all.
        task, columns: as for `data.tasks.read_examples`.
        seed: of what is drawn.
        skipped: `SkippedRows`.

    Returns:
        (`Examples` to learn from; those to stop by, or None; what was left out, a string for each reason).

    Raises:
        ValueError: fewer than two classes; a class with nothing to learn from.
    """
    examples, repeated = without_duplicates(read_examples(data, task, skipped, **columns))
    if len(set(examples.labels.tolist())) < 2:
        raise ValueError(f"training needs at least two classes. Received: {len(examples)} examples of "
                         f"{' and '.join(examples.label_names)}; {repeated} repeated or contradictory ones were left out")
    left_out, held_out = [f"{repeated:,} repeated texts left out"] if repeated else [], None
    if validation:
        held_out = read_examples(validation, task, skipped, label_names=examples.label_names, **columns)
        kept = without(examples, held_out)
        if missing := [name for number, name in enumerate(examples.label_names) if number not in kept.labels]:
            raise ValueError(f"every class needs a text that does not stand in --validation. Received: none of "
                             f"{' and '.join(missing)}; {len(examples) - len(kept)} that stand there were left out")
        if len(kept) < len(examples):
            left_out.append(f"{len(examples) - len(kept):,} left out that stand in --validation")
        examples = kept
    elif validation_share:
        examples, held_out = split(examples, validation_share, seed)
    return examples if labels is None else few_labels(examples, labels, seed), held_out, left_out
