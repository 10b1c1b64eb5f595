"""Sources in, a prepared corpus out: clean documents, a tokenizer, packed rows, a manifest."""

import json
from pathlib import Path

import tyro
from rich.table import Table
from rich.text import Text

from app.terminal import as_tuple, check_at_least, check_file, console, load_tensorflow, progress_bar

VOCABULARY_SIZE = 8192


def prepare(
    sources: tyro.conf.Positional[tuple[str, ...]],
    /,
    *,
    to: Path,
    vocabulary_size: int | None = None,
    sequence_length: int = 128,
    held_out: tuple[str, ...] = (),
    tokenizer: Path | None = None,
    text_column: str | None = None,
    heading_columns: tuple[str, ...] = (),
    whole_files: bool = False,
    keep_case: bool = False,
    characters: bool = False,
    validation: tuple[str, ...] = (),
    validation_share: float = 0.01,
    near_duplicates: float = 0.8,
    max_skipped: int = 1000,
) -> dict:
    """Reads text, cleans and deduplicates it, trains a tokenizer, writes packed rows.

    A second run with the same sources and settings finds its work done; with others it asks for another folder.

    Args:
        sources: files (.parquet, or .txt .csv .tsv .jsonl, also in .gz), globs, folders, tfds:NAME[:split] or
            sample:NAME[:split].
        to: the folder to make, for example corpora/mine.
        vocabulary_size: tokens in the vocabulary, at most; 8192 if not given.
        sequence_length: tokens in a row.
        held_out: sources whose documents must not stand in the corpus, such as the test split of a task.
        tokenizer: a tokenizer.json to use instead of training one.
        text_column: the column that holds the text; found by its name if not given.
        heading_columns: columns that stand above each text, a line each, for a GPT to be asked by, such as form and title
            of poems. In a tenth of the texts only the first one does.
        whole_files: a .txt file is one document, not one a line.
        keep_case: do not lower-case.
        characters: tokens are characters, in their case; ends of lines are tokens too. Spaces beside spaces go, and
            compatibility characters become plain ones ("…" three dots), as always.
        validation: sources to measure the loss on; none = a share of the corpus.
        validation_share: that share.
        near_duplicates: documents whose sets of shingles overlap by this share or more are duplicates (Jaccard).
        max_skipped: stop after so many unreadable rows.
    """
    check_at_least(8, sequence_length=sequence_length)
    if tokenizer and (keep_case or characters or vocabulary_size is not None):
        raise ValueError("--vocabulary-size, --keep-case and --characters are of a tokenizer trained here: leave them out "
                         "beside --tokenizer")
    check_file(tokenizer=tokenizer)
    vocabulary_size = VOCABULARY_SIZE if vocabulary_size is None else vocabulary_size
    check_at_least(1, vocabulary_size=vocabulary_size)
    to, sources, held_out, validation = Path(to), as_tuple(sources), as_tuple(held_out), as_tuple(validation)
    heading_columns = as_tuple(heading_columns)
    if not 0 < validation_share < 1:
        raise ValueError(f"--validation-share must be above 0 and below 1. Received: {validation_share}")
    from data.sources import SkippedRows, fingerprint, read_texts
    from models.run_folder import sha256, whole, write_json

    recipe = {
        "sources": {source: fingerprint(source) for source in sources},
        "held_out": {source: fingerprint(source) for source in held_out},
        "validation": {source: fingerprint(source) for source in validation},
        "tokenizer": sha256(tokenizer) if tokenizer else None,
        "vocabulary_size": vocabulary_size, "sequence_length": sequence_length, "text_column": text_column,
        "heading_columns": list(heading_columns), "whole_files": whole_files, "keep_case": keep_case,
        "characters": characters, "validation_share": validation_share, "near_duplicates": near_duplicates,
    }
    if to.is_dir() and not any(to.iterdir()):
        to.rmdir()  # it is made anew when all is there
    if to.exists():
        manifest = _prepared_already(to, recipe)
        console.print(f"{to} is prepared already, from the same sources and settings", markup=False)
        return manifest
    load_tensorflow()
    import numpy as np

    from data.corpus import build_corpus
    from data.packing import pack_documents
    from data.prepared import FORMAT
    from data.tokenizer import UNK, Tokenizer
    from data.vocabulary import SAMPLE_BYTES, train_tokenizer

    skipped = SkippedRows(max_skipped)

    def texts(some):
        return read_texts(some, skipped, text_column, whole_files=whole_files, heading_columns=heading_columns)

    reader = Tokenizer.load(tokenizer) if tokenizer else None
    with whole(to) as folder:
        folder.mkdir()
        with progress_bar("read and compare", unit="characters") as advance:
            corpus = build_corpus(
                texts(sources), folder, held_out=texts(held_out), validation=texts(validation) if validation else None,
                validation_share=validation_share, near_duplicates=near_duplicates, progress=advance)
        counts = corpus.counts
        if not counts["train"] or not counts["validation"]:
            raise ValueError("a corpus needs at least two different documents, one to learn from and one to measure by. "
                             f"Received: {counts} from {', '.join(sources)}")
        if reader is None:
            sample = corpus.documents("train", most_bytes=SAMPLE_BYTES)
            with progress_bar("train the tokenizer", len(sample), "documents") as advance:
                reader = train_tokenizer(sample, vocabulary_size, lower_case=not keep_case, characters=characters,
                                         progress=advance)
        rows, token_counts = {}, {}
        for split in ("train", "validation"):
            with progress_bar(f"encode and pack {split}", counts[split], "documents") as advance:
                rows[split], token_counts[split] = pack_documents(
                    corpus.documents(split), reader, folder / f"{split}.rows", sequence_length, advance)
        corpus.close()
        reader.save(folder / "tokenizer.json")
        np.save(folder / "token_counts.npy", token_counts["train"])
        tokens = int(token_counts["train"].sum())
        manifest = {
            "format": FORMAT, "recipe": recipe, "documents": counts, "rows": rows, "tokens": tokens,
            "unknown_share": float(token_counts["train"][UNK] / tokens), "vocabulary_size": reader.vocabulary_size,
            "tokenizer_sha256": reader.sha256, "skipped": dict(skipped.counts), "skipped_examples": skipped.examples,
            "near_duplicate_examples": [list(pair) for pair in corpus.near_duplicates],
        }
        write_json(folder / "manifest.json", manifest)
    table = Table(title=Text(str(to)), title_justify="left", show_header=False)
    for name, value in {**counts, "tokens": tokens, "rows of text": rows["train"], "vocabulary": reader.vocabulary_size,
                        "share of [UNK]": f"{manifest['unknown_share']:.4%}"}.items():
        table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else value)
    if skipped.total:
        table.add_row("skipped rows", Text(str(skipped)))
    console.print(table)
    console.print(f"Next: fromzero pretrain {to} --to runs/…", markup=False)
    return manifest


def _prepared_already(folder, recipe):
    """The manifest of a corpus prepared before by the same recipe.

    Raises:
        ValueError: the folder holds something else.
    """
    path = folder / "manifest.json"
    if not path.exists():
        raise ValueError(f"--to must be a new folder. Received: {folder}, which holds something else")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise ValueError(f"{path} is damaged: remove that folder, or choose another --to") from None
    younger = {"validation": {}, "characters": False, "heading_columns": []}  # than some corpora
    prepared = {**younger, **manifest.get("recipe", {})}
    changed = [name for name in recipe if recipe[name] != prepared.get(name)]
    if changed:
        raise ValueError(f"{folder} was prepared from other sources or settings ({', '.join(changed)}). "
                         "Choose another --to, or remove that folder")
    return manifest
