"""A run and texts (command line, standard input or a file) in, labels, texts, answers or recommended titles out."""

import functools
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import tyro

from app.tables import check_target, write_rows
from app.terminal import as_tuple, console, decodable, load_tensorflow, progress_bar
from app.writing import beams

# Rows held in memory at a time: enough for full batches of every length, few enough for texts of megabytes.
CHUNK = 1024


def predict(
    run: tyro.conf.Positional[Path],
    texts: tyro.conf.Positional[tuple[str, ...]] = (),
    *,
    data: str | None = None,
    to: Path | None = None,
    text_column: str | None = None,
    pair_column: str | None = None,
    question_column: str | None = None,
    context_column: str | None = None,
    num_beams: int | None = None,
    length_penalty: float | None = None,
    no_repeat_ngram_size: int | None = None,
    overwrite: bool = False,
    max_skipped: int = 1000,
) -> list[dict] | dict:
    """Classify texts, write texts from them, find answers in them or recommend: from the command line, from standard input
    (one a line) or from a file.

    With --data and --to, every input column and the order of the rows are kept. A classifier adds label_predicted, score
    (that label's probability) and one probability_LABEL per class, a run of seq2seq or extract text_written, a run of
    questions answer_predicted and score. Values are text; objects and most lists of a .jsonl are left out, and in a .tsv
    tabs and line ends become spaces. An empty text keeps its place and gets no prediction. Otherwise the output is a line a
    text: label, its probability, every probability and the text, separated by tabs; what is written; or the answer, its
    probability and the question.

    A recommender reads the texts as one history of titles in order of time and answers with the best next ones, a line
    each: its probability and the title, separated by a tab. From a file with users and items it writes ten rows a user:
    user, place, item, title and score.

    Args:
        run: folder of a run of finetune, seq2seq, questions, recommend or extract.
        texts: texts to read. For a classifier of text pairs: first, second, first, second …, for a run of questions:
            question, text, question, text … (on standard input the two are separated by a tab).
        data: a source of unlabelled rows: .parquet, or .csv, .tsv, .jsonl or .txt (also .gz).
        to: .csv, .tsv or .jsonl (also .gz) to write.
        text_column: column of the text; found when left out.
        pair_column: column of the second text; found when left out.
        question_column: for a run of questions, column of the question; found when left out.
        context_column: for a run of questions, column of the text; found when left out.
        num_beams: for a run of seq2seq, among how many texts at a time the most probable one is searched: 5 when left
            out, 1 = the best token each time.
        length_penalty: of that search: larger values favour longer texts; 1 when left out.
        no_repeat_ngram_size: of that search: no run of so many tokens comes twice in a text, 3 for summaries; 0, when left
            out, = it may.
        overwrite: replace the file --to if it exists.
        max_skipped: stop after so many unreadable rows.

    Returns:
        For texts: a list of {"text", "label", "score", "probabilities": {label: probability}}, with "pair" for pairs; or
        of {"text", "written"}; or of {"question", "context", "answer", "score"}; of a recommender of {"title", "score"}.
        For standard input: {"rows"}. For --data: {"rows", "empty", "skipped": {reason: count}, "to"}.
    """
    search = {"num_beams": num_beams, "length_penalty": length_penalty, "no_repeat_ngram_size": no_repeat_ngram_size}
    settings = beams(**search)
    run, texts = Path(run), [decodable(text) for text in as_tuple(texts)]
    if (data is None) != (to is None):
        raise ValueError(f"--data IN and --to OUT go together. Received: data={data}, to={to}")
    if data is not None and texts:
        raise ValueError(f"texts come either from the command line or from --data. Received: both, data={data}")
    if to is not None:
        to = Path(to)
        check_target(to, overwrite)
    elif not texts and sys.stdin.isatty():
        raise ValueError("nothing to read: give a text in quotes, pipe texts in, or name a file with --data")

    from app.kinds import kind_of

    kind = kind_of(run, "classifier", "seq2seq", "span", "recommender", "extractor",
                   text_column=(text_column, "classifier", "seq2seq", "extractor"), pair_column=(pair_column, "classifier"),
                   question_column=(question_column, "span"), context_column=(context_column, "span"),
                   **{name: (value, "seq2seq") for name, value in search.items()})
    load_tensorflow()
    from app.answerer import load_answerer
    from app.classifier import load_classifier
    from app.extractor import load_extractor
    from app.predictions import Answers, Labels, Recommendations, Texts
    from app.recommender import load_recommender
    from app.writer import load_writer
    from data.sources import SkippedRows
    from models.generation import Beams

    predictor = {"classifier": lambda: Labels(load_classifier(run)),
                 "seq2seq": lambda: Texts(functools.partial(load_writer(run).write, beams=Beams(**settings))),
                 "extractor": lambda: Texts(load_extractor(run).write),
                 "span": lambda: Answers(load_answerer(run)),
                 "recommender": lambda: Recommendations(*load_recommender(run))}[kind]()
    if data is not None:
        columns = (question_column, context_column) if kind == "span" else (text_column, pair_column)
        return _predict_file(predictor, data, to, columns, SkippedRows(max_skipped))
    results, count = [], 0
    kept = texts or predictor.reads_histories  # else standard input, which may have no end
    for chunk in _chunks(_texts_and_pairs(texts, predictor.takes_pairs), None if predictor.reads_histories else CHUNK):
        for result in predictor.results(chunk):
            print(predictor.line(result), flush=True)
            count += 1
            if kept:
                results.append(result)
    return results if kept else {"rows": count}


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
            raise ValueError(f"this run takes pairs: give an even number of texts. Received: {len(texts)}")
        yield from zip(texts[::2], texts[1::2], strict=True)
    else:
        if hasattr(sys.stdin, "reconfigure"):  # whatever the locale says, and without stopping at a broken byte
            sys.stdin.reconfigure(encoding="utf-8", errors="replace")
        for number, line in enumerate(sys.stdin, 1):
            text, tab, pair = line.rstrip("\r\n").partition("\t") if takes_pairs else (line.rstrip("\r\n"), "", None)
            if takes_pairs and not tab:
                raise ValueError(f"this run takes pairs: two texts separated by a tab. Received line {number}: "
                                 f"{text[:60]!r}")
            yield text, pair


def _predict_file(predictor, data, to, columns, skipped):
    counts = {"rows": 0, "empty": 0}
    with progress_bar("predict", unit="users" if predictor.reads_histories else "rows") as advance:
        if predictor.reads_histories:
            rows = predictor.rows(data, skipped, counts, advance)
        else:
            rows = _rows_with_predictions(predictor, data, columns, skipped, counts, advance)
        write_rows(rows, to)
    console.print(f"{counts['rows']:,} rows → {to}", markup=False)
    if counts["empty"]:
        console.print(f"rows without text, their prediction is empty: {counts['empty']:,}")
    if skipped.total:
        console.print(f"rows that could not be read: {skipped}", markup=False)
    return {**counts, "skipped": dict(skipped.counts), "to": str(to)}


def _rows_with_predictions(predictor, data, columns, skipped, counts, advance):
    """Yields every row of the source with the new columns; adds to `counts` on the way."""
    from data.sources import find_column, read_tables

    inputs = list(zip(columns, predictor.inputs))[: 1 + predictor.takes_pairs]
    header_names = [name for column, (candidates, _) in inputs for name in ([column] if column else candidates)]
    for table in read_tables(data, skipped, header_names=header_names):
        names = None
        for rows in _chunks(table, CHUNK):
            if names is None:
                names = [find_column(rows[0], column, *one) for column, one in inputs]
            if clash := next(((row, name) for row in rows for name in predictor.columns if name in row), None):
                raise ValueError(f"the columns to add must be new: rename or drop the one there is. "
                                 f"Received: {clash[1]} in {clash[0].place}")
            text_name, pair_name = names if predictor.takes_pairs else (*names, None)
            results = predictor.results([(row.get(text_name, ""), row.get(pair_name, "") if pair_name else None)
                                         for row in rows])
            for row, result in zip(rows, results, strict=True):
                cells = predictor.cells(result)
                counts["empty"] += cells[0] is None
                yield row | dict(zip(predictor.columns, cells, strict=True))
            counts["rows"] += len(rows)
            advance(len(rows))
    if not counts["rows"]:
        raise ValueError(f"--data must hold at least one row that can be read. Received: {data}: {skipped}")
