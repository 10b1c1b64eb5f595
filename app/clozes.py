"""Plain texts in, a table of questions that are made of them out, for `questions` to learn from first."""

from pathlib import Path

import tyro

from app.tables import check_target, write_rows
from app.terminal import as_tuple, check_file, console, import_tensorflow, progress_bar


def clozes(
    sources: tyro.conf.Positional[tuple[str, ...]],
    /,
    *,
    tokenizer: Path,
    to: Path,
    text_column: str | None = None,
    whole_files: bool = False,
    overwrite: bool = False,
    max_skipped: int = 1000,
) -> dict:
    """Makes questions of plain texts: a phrase of a sentence is the answer, some of the words around it the question.

    Where people's questions are few, learn from these first: `questions --data FILE --backbone RUN --to runs/clozes`, then
    from people's with `--backbone runs/clozes`. The same texts and tokenizer give the same questions.

    Args:
        sources: files (.parquet, or .txt .csv .tsv .jsonl, also in .gz), globs, folders, tfds:NAME[:split] or
            sample:NAME[:split].
        tokenizer: tokenizer.json of the run that will be the backbone.
        to: the .csv, .tsv or .jsonl to write (also .gz), with the columns question, context, answer and answer_start.
        text_column: the column that holds the text; found by its name if not given.
        whole_files: a .txt file is one text, not one a line.
        overwrite: replace the file if it exists.
        max_skipped: stop after so many unreadable rows.
    """
    to, sources = Path(to), as_tuple(sources)
    check_target(to, overwrite)
    check_file(tokenizer=tokenizer)
    if not sources:
        raise ValueError("name at least one source of texts")
    import_tensorflow()
    from data.clozes import cloze_questions
    from data.sources import SkippedRows, read_texts
    from data.tokenizer import Tokenizer

    skipped, count = SkippedRows(max_skipped), 0
    texts, reader = read_texts(sources, skipped, text_column, whole_files=whole_files), Tokenizer.load(tokenizer)

    def rows():
        nonlocal count
        for count, question in enumerate(cloze_questions(texts, reader), 1):
            yield {"question": question.question, "context": question.context, "answer": question.answers[0],
                   "answer_start": question.span[0]}
            advance()
        if not count:
            raise ValueError("a question is made of a sentence of eight words or more (tokens, in a script without spaces). "
                             f"Received: none in {', '.join(sources)}" + (f"; skipped: {skipped}" if skipped.total else ""))

    with progress_bar("make questions", unit="questions") as advance:
        write_rows(rows(), to)
    console.print(f"{to}: {count:,} questions" + (f"; skipped: {skipped}" if skipped.total else "")
                  + f". Next: fromzero questions --data {to} --backbone runs/… --to runs/clozes", markup=False)
    return {"num_questions": count, "skipped": dict(skipped.counts)}
