"""A run and texts (command line, standard input or a file) in, labels, written texts or recommended titles out."""

import csv
import gzip
import itertools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import tyro

from app.terminal import as_tuple, console, load_tensorflow, progress_bar
from app.writing import beams

# Rows held in memory at a time: enough for full batches of every length, few enough for texts of megabytes.
CHUNK = 1024
FORMATS = (".csv", ".tsv", ".jsonl")


def predict(
    run: tyro.conf.Positional[Path],
    texts: tyro.conf.Positional[tuple[str, ...]] = (),
    *,
    data: str | None = None,
    to: Path | None = None,
    text_column: str | None = None,
    pair_column: str | None = None,
    num_beams: int | None = None,
    length_penalty: float | None = None,
    overwrite: bool = False,
    max_skipped: int = 1000,
) -> list[dict] | dict:
    """Classify texts, write texts from them or recommend: from the command line, standard input (one a line) or a file.

    With --data and --to, every input column and the order of the rows are kept. A classifier adds label_predicted, score
    (that label's probability) and one probability_LABEL per class, a run of seq2seq adds text_written. Values are text;
    lists and objects of a .jsonl are left out, and in a .tsv tabs and line ends become spaces. An empty text keeps its
    place and gets no prediction. Otherwise the output is a line a text: label, its probability, every probability and
    the text, separated by tabs, or what is written.

    A recommender reads the texts as one history of titles in order of time and answers with the best next ones, a line
    each: its probability and the title, separated by a tab. From a file with users and items it writes ten rows a user:
    user, place, item, title and score.

    Args:
        run: folder of a run of finetune, seq2seq or recommend.
        texts: texts to read. For a classifier of text pairs: first, second, first, second … (on standard
            input the two are separated by a tab).
        data: a source of unlabelled rows: .csv, .tsv, .jsonl, .parquet or .txt (also .gz).
        to: .csv, .tsv or .jsonl (also .gz) to write.
        text_column: column of the text; found when left out.
        pair_column: column of the second text; found when left out.
        num_beams: for a run of seq2seq, among how many texts at a time the most probable one is searched: 5 when left
            out, 1 = the best token each time.
        length_penalty: of that search: larger values favour longer texts; 1 when left out.
        overwrite: replace the file --to if it exists.
        max_skipped: stop after so many unreadable rows.

    Returns:
        For texts: a list of {"text", "label", "score", "probabilities": {label: probability}}, with "pair" for pairs; or
        of {"text", "written"}; of a recommender of {"title", "score"}.
        For --data: {"rows", "empty", "skipped": {reason: count}, "to"}.
    """
    search = beams(num_beams, length_penalty)
    run, texts = Path(run), as_tuple(texts)
    if (data is None) != (to is None):
        raise ValueError(f"--data IN and --to OUT go together. Received: data={data}, to={to}")
    if data is not None and texts:
        raise ValueError(f"texts come either from the command line or from --data. Received: both, data={data}")
    if to is not None:
        to = Path(to)
        _check_target(to, overwrite)
    elif not texts and sys.stdin.isatty():
        raise ValueError("nothing to read: give a text in quotes, pipe texts in, or name a file with --data")

    from app.kinds import kind_of

    kind = kind_of(run, "classifier", "seq2seq", "recommender", text_column=(text_column, "classifier", "seq2seq"),
                   pair_column=(pair_column, "classifier"),
                   num_beams=(num_beams, "seq2seq"), length_penalty=(length_penalty, "seq2seq"))
    load_tensorflow()
    from app.classifier import load_classifier
    from app.predictions import Labels, Recommendations, Texts
    from app.recommender import load_recommender
    from app.writer import load_writer
    from data.sources import SkippedRows

    if kind == "classifier":
        predictor = Labels(load_classifier(run))
    elif kind == "seq2seq":
        predictor = Texts(load_writer(run), **search)
    else:
        predictor = Recommendations(*load_recommender(run))
    if data is not None:
        return _predict_file(predictor, data, to, text_column, pair_column, SkippedRows(max_skipped))
    results = []
    for chunk in _chunks(_texts_and_pairs(texts, predictor.takes_pairs), None if predictor.reads_histories else CHUNK):
        for result in predictor.results(chunk):
            print(predictor.line(result), flush=True)
            results.append(result)
    return results


def _check_target(to, overwrite):
    if _format(to) not in FORMATS:
        raise ValueError(f"--to must end in {', '.join(FORMATS)} or one of them with .gz. Received: {to}")
    if to.is_dir() or (to.exists() and not overwrite):
        raise ValueError(f"{to} exists: choose another name, or replace a file with --overwrite")


def _format(path):
    return Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


def _chunks(items, size):
    """Lists of so many items; one of all of them if the size is None."""
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def _texts_and_pairs(texts, takes_pairs) -> Iterator[tuple[str, str | None]]:
    """(text, pair) from the command line, else from standard input; pair is None where none is wanted."""
    if texts and not takes_pairs:
        yield from ((text, None) for text in texts)
    elif texts:
        if len(texts) % 2:
            raise ValueError(f"this classifier takes pairs: give an even number of texts. Received: {len(texts)}")
        yield from zip(texts[::2], texts[1::2], strict=True)
    else:
        if hasattr(sys.stdin, "reconfigure"):  # whatever the locale says, and without stopping at a broken byte
            sys.stdin.reconfigure(encoding="utf-8", errors="replace")
        for number, line in enumerate(sys.stdin, 1):
            text, tab, pair = line.rstrip("\r\n").partition("\t") if takes_pairs else (line.rstrip("\r\n"), "", None)
            if takes_pairs and not tab:
                raise ValueError(f"this classifier takes pairs: two texts separated by a tab. Received line {number}: "
                                 f"{text[:60]!r}")
            yield text, pair


def _predict_file(predictor, data, to, text_column, pair_column, skipped):
    counts = {"rows": 0, "empty": 0}
    with progress_bar("predict", unit="users" if predictor.reads_histories else "rows") as advance:
        if predictor.reads_histories:
            rows = predictor.rows(data, skipped, counts, advance)
        else:
            rows = _rows_with_predictions(predictor, data, text_column, pair_column, skipped, counts, advance)
        _write_rows(rows, to)
    console.print(f"{counts['rows']:,} rows → {to}", markup=False)
    if counts["empty"]:
        console.print(f"rows without text, their prediction is empty: {counts['empty']:,}")
    if skipped.total:
        console.print(f"rows that could not be read: {skipped}", markup=False)
    return {**counts, "skipped": dict(skipped.counts), "to": str(to)}


def _rows_with_predictions(predictor, data, text_column, pair_column, skipped, counts, advance):
    """Yields every row of the source with the new columns; adds to `counts` on the way."""
    from data.sources import PAIR_COLUMNS, TEXT_COLUMNS, find_column, read_tables

    named = [column for column in (text_column, pair_column) if column]
    for table in read_tables(data, skipped, header_names=named):
        text_name = pair_name = None
        for rows in _chunks(table, CHUNK):
            if text_name is None:
                text_name = find_column(rows[0], text_column, TEXT_COLUMNS, "text")
                if predictor.takes_pairs:
                    pair_name = find_column(rows[0], pair_column, PAIR_COLUMNS, "second text")
            if clash := next(((row, name) for row in rows for name in predictor.columns if name in row), None):
                raise ValueError(f"the columns to add must be new: rename or drop the one there is. "
                                 f"Received: {clash[1]} in {clash[0].place}")
            pairs = [row.get(pair_name, "") if pair_name else None for row in rows]
            results = predictor.results(list(zip([row.get(text_name, "") for row in rows], pairs)))
            for row, result in zip(rows, results, strict=True):
                cells = predictor.cells(result)
                counts["empty"] += cells[0] is None
                yield row | dict(zip(predictor.columns, cells, strict=True))
            counts["rows"] += len(rows)
            advance(len(rows))
    if not counts["rows"]:
        raise ValueError(f"--data must hold at least one row that can be read. Received: {data}: {skipped}")


def _write_rows(rows, to):
    from models.run_folder import whole

    opener = gzip.open if to.suffix.lower() == ".gz" else open
    with whole(to) as temporary, opener(temporary, "wt", encoding="utf-8", errors="replace", newline="") as stream:
        if _format(to) == ".jsonl":
            stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            _write_table(rows, stream, "\t" if _format(to) == ".tsv" else ",")


def _write_table(rows, stream, delimiter):
    writer = None
    for number, row in enumerate(rows, 1):
        if writer is None:
            columns = list(row)
            writer = csv.DictWriter(stream, columns, delimiter=delimiter, lineterminator="\n")
            writer.writeheader()
        if more := [name for name in row if name not in columns]:
            raise ValueError(f"a table needs the same columns in every row. Received: row {number} also has "
                             f"{', '.join(more)}; write .jsonl instead")
        if delimiter == "\t":  # where a line is a row
            row = {name: " ".join(re.split(r"[\t\r\n]+", value)) if isinstance(value, str) else value
                   for name, value in row.items()}
        writer.writerow(row)
