"""Texts with summaries or headlines in, an extractor that picks such out of a text out."""

import dataclasses
from pathlib import Path

from app.terminal import as_tuple, console, load_tensorflow, progress_bar, warn

MOST_PAIRS = 10_000  # that are learned from: features of all words are held in memory


def extract(
    *,
    data: tuple[str, ...],
    to: Path,
    text_column: str | None = None,
    target_column: str | None = None,
    max_skipped: int = 1000,
) -> dict:
    """Trains an extractor: the sentences of a text that say most of it, as long together as the targets are.

    It learns which words of a text stand in its target. Where targets are shorter than a sentence, as headlines are, it
    takes the best part of one. What it gives stands in the text word for word: `seq2seq` writes anew.

    Args:
        data: sources with two columns of text: files, globs, folders, tfds:NAME[:split].
        to: the run folder to make, for example runs/summaries.
        text_column: the column that is read; found by its name if not given.
        target_column: the column of summaries or headlines; found by its name if not given.
        max_skipped: stop after so many unreadable rows.
    """
    to, data = Path(to), as_tuple(data)
    if to.exists():
        raise ValueError(f"--to must be a new folder. Received: {to}, which exists")
    load_tensorflow()
    import numpy as np

    from app.extractor import build_model, count_pairs
    from data.documents import NUM_BUCKETS, examples
    from data.pairs import read_pairs
    from data.sources import SkippedRows, fingerprint
    from models.extractor import ExtractorConfig, fit_extractor
    from models.run_folder import save_config, whole

    skipped = SkippedRows(max_skipped)
    texts, targets = read_pairs(data, skipped, text_column=text_column, target_column=target_column)
    if len(texts) > MOST_PAIRS:
        warn(f"{MOST_PAIRS:,} of {len(texts):,} pairs are learned from, evenly spread: more would take too much memory")
        chosen = np.linspace(0, len(texts) - 1, MOST_PAIRS).astype(int)
        texts, targets = [texts[number] for number in chosen], [targets[number] for number in chosen]

    facts, in_target, target_lengths, num_words, num_sentences = [], [], [], 0, 0
    with progress_bar("read", len(texts), "pairs") as advance:
        for documents, counts, lengths in count_pairs(texts, targets):
            for results, values in zip((facts, in_target), examples(documents, counts)):
                results.append(values)
            target_lengths.append(lengths)
            num_words += int(np.count_nonzero(documents.counts))
            num_sentences += len(documents.text_of_sentence)
            advance(len(lengths))
    target_length, sentence_length = float(np.concatenate(target_lengths).mean()), num_words / max(num_sentences, 1)
    in_parts = target_length < sentence_length
    console.print(f"{len(texts):,} pairs; a target has {target_length:.1f} words, a sentence {sentence_length:.1f}: "
                  f"an extract is {'the best part of a sentence' if in_parts else 'sentences'}"
                  + (f"; skipped: {skipped}" if skipped.total else ""), markup=False)
    model = build_model()
    fit_extractor(model, {name: np.concatenate([part[name] for part in facts]) for name in facts[0]},
                  np.concatenate(in_target))
    result = {"target_length": target_length, "in_parts": in_parts, "num_examples": len(texts)}
    with whole(to) as unfinished:
        unfinished.mkdir()
        model.save_weights(unfinished / "extractor.weights.h5")
        save_config(unfinished, "extractor", model=dataclasses.asdict(ExtractorConfig(NUM_BUCKETS)),
                    data=[*map(fingerprint, data)], **result)
    console.print(f'saved {to}. Next: fromzero predict {to} "a text"', markup=False)
    return result
