"""Rows in, a .csv, .tsv or .jsonl file out, also .gz: written whole or not at all."""

import csv
import gzip
import json
import re
from pathlib import Path

FORMATS = (".csv", ".tsv", ".jsonl")


def check_target(to, overwrite):
    """Raises ValueError unless a file of rows can be written under that name, and may be."""
    if _format(to) not in FORMATS:
        raise ValueError(f"--to must end in {', '.join(FORMATS)} or one of them with .gz. Received: {to}")
    if to.is_dir() or (to.exists() and not overwrite):
        raise ValueError(f"{to} exists: choose another name, or replace a file with --overwrite")


def _format(path):
    return Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


def write_rows(rows, to):
    """Writes rows, whole or not at all.

    Args:
        rows: iterable of dicts.
        to: the file, as for `check_target`; what stands there is replaced.

    Raises:
        ValueError: a row of a table has a column that the first has not.
    """
    from models.run_folder import whole  # here, since it brings NumPy, for which --help would wait

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
