"""Texts with summaries or headlines in, an extractor that picks such out of a text out."""

import dataclasses
from pathlib import Path

from app.terminal import as_tuple, console, load_tensorflow, progress_bar, warn

MOST_WORDS = 3_000_000  # distinct ones of each text, that are learned from: 3 GB of memory


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
    from app.extractor import build_model
    from data.documents import NUM_BUCKETS
    from data.pairs import read_pairs
    from data.sources import SkippedRows, fingerprint
    from models.extractor import ExtractorConfig, fit_extractor
    from models.run_folder import save_config, whole

    skipped = SkippedRows(max_skipped)
    texts, targets = read_pairs(data, skipped, text_column=text_column, target_column=target_column)
    facts, in_target, target_lengths, sentence_length = _learned(texts, targets)
    if len(target_lengths) < len(texts):
        warn(f"{len(target_lengths):,} of {len(texts):,} pairs are learned from, drawn at random: "
             "all of them would take too much memory")
    target_length = float(target_lengths.mean())
    in_parts = target_length < sentence_length
    console.print(f"{len(target_lengths):,} pairs; a target has {target_length:.1f} words, a sentence "
                  f"{sentence_length:.1f}: an extract is {'the best part of a sentence' if in_parts else 'sentences'}"
                  + (f"; skipped: {skipped}" if skipped.total else ""), markup=False)
    model = build_model()
    fit_extractor(model, facts, in_target)
    result = {"target_length": target_length, "in_parts": in_parts, "num_examples": len(target_lengths)}
    with whole(to) as unfinished:
        unfinished.mkdir()
        model.save_weights(unfinished / "extractor.weights.h5")
        save_config(unfinished, "extractor", model=dataclasses.asdict(ExtractorConfig(NUM_BUCKETS)),
                    data=[*map(fingerprint, data)], **result)
    console.print(f'saved {to}. Next: fromzero predict {to} "a text"', markup=False)
    return result


def _learned(texts, targets):
    """Reads pairs in random order until there are words enough.

    Returns:
        What `fit_extractor` takes: dict of np.int32 (N,), np.bool (N,); np.int64 (P,), the lengths of the targets that
        were read, in words; that of a sentence, on average.
    """
    import numpy as np

    from app.extractor import count_pairs
    from data.documents import examples

    order = np.random.default_rng(0).permutation(len(texts))
    parts, num_examples, num_words, num_sentences = [], 0, 0, 0
    with progress_bar("read", len(texts), "pairs") as advance:
        for documents, counts, lengths in count_pairs([texts[n] for n in order], [targets[n] for n in order]):
            parts.append((*examples(documents, counts), lengths))
            num_words += int(np.count_nonzero(documents.counts))
            num_sentences += len(documents.text_of_sentence)
            advance(len(lengths))
            num_examples += len(parts[-1][1])
            if num_examples >= MOST_WORDS:
                break
    facts, in_target, lengths = zip(*parts)
    facts = {name: np.concatenate([part[name] for part in facts]) for name in facts[0]}
    return facts, np.concatenate(in_target), np.concatenate(lengths), num_words / max(num_sentences, 1)
