"""A file in (.txt .csv .tsv .jsonl, plain or .gz, and .parquet) → its rows (column → text), streamed.

A row that cannot be used (undecodable bytes, broken JSON, a wrong number of fields …) is never dropped in
silence: it is counted and named in `SkippedRows`, which stops the job when there are too many. A file that
cannot be read at all (corrupt, empty) is a ValueError.
"""

import csv
import gzip
import itertools
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from data.decoding import UNDECODABLE, decoded_lines

SUFFIXES = (".txt", ".csv", ".tsv", ".jsonl", ".parquet")
_FIELD_CHARACTERS = 1 << 27  # an unclosed quote cannot swallow more than this much of a csv file


class Row(dict[str, str]):
    """Column → text; `place` says where it stands ("file:line", for messages)."""

    __slots__ = ("place",)

    def __init__(self, columns, place: str):
        super().__init__(columns)
        self.place = place


class SkippedRows:
    """Rows that could not be used, by reason; at `limit` of them the job stops with a ValueError.

    counts: reason → number of rows; examples: reason → the first five places ("file:line").
    """

    def __init__(self, limit: int = 1000):
        self.limit = limit
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    @property
    def total(self) -> int:
        return self.counts.total()

    def add(self, reason: str, place: str) -> None:
        self.counts[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < 5:
            examples.append(place)
        if self.total >= self.limit:
            raise ValueError(f"{self.total} rows cannot be used (the limit is {self.limit}): {self}")

    def __str__(self) -> str:
        return "; ".join(f"{count} × {reason} ({', '.join(self.examples[reason])}{' …' if count > 5 else ''})"
                         for reason, count in self.counts.most_common())


def file_kind(path: Path) -> str | None:
    """".csv" for reviews.csv and for reviews.CSV.gz; None when the name ends in nothing that is read here."""
    name = path.name.lower()
    kind = Path(name.removesuffix(".gz")).suffix
    return kind if kind in SUFFIXES and not name.endswith(".parquet.gz") else None


def read_file(path: Path, skipped: SkippedRows, header_names: Sequence[str], *,
              whole_files: bool = False, alone: bool = True) -> Iterator[Row]:
    """Yields the rows of a file whose `file_kind` is not None.

    .txt: a line is a row {"text": line}; with `whole_files` the file is one row.
    .csv (separated by commas, or by ; or tabs if the header is) and .tsv: the first line is the header when
    one of `header_names` stands in it; otherwise it is data and the columns are column_1, column_2 …. Values
    are the file's characters: a label 1 is "1". In a .tsv a line is a row and quotes around a field are
    optional. .jsonl and .parquet: numbers become text, null becomes "", a list of texts its lines, in a .jsonl one of
    numbers too; other lists and objects are left out.

    Args:
        alone: it is the only file of its source; of several, an empty one is only counted.

    Raises:
        ValueError: the file is corrupt or empty; too many rows were skipped.
        OSError: the file cannot be opened.
    """
    kind = file_kind(path)
    if kind == ".csv":
        rows = _csv_rows(path, skipped, header_names)
    elif kind == ".tsv":
        rows = _tsv_rows(path, skipped, header_names)
    elif kind == ".jsonl":
        rows = _jsonl_rows(path, skipped)
    elif kind == ".parquet":
        rows = _parquet_rows(path, skipped)
    elif whole_files:
        rows = _whole_file(path, skipped)
    else:
        rows = (Row({"text": line}, f"{path}:{number}") for number, line in _good_lines(path, skipped))
    skipped_before, row = skipped.total, None
    try:
        for row in rows:
            yield row
    except (gzip.BadGzipFile, EOFError, zlib.error, UnicodeError, csv.Error) as error:
        raise ValueError(f"{path} is corrupt and cannot be read: {error}") from error
    if row is None and skipped.total == skipped_before:
        if alone:
            raise ValueError(f"{path} is empty: it holds no rows")
        skipped.add("an empty file", str(path))  # one of many does not stop the job


def _good_lines(path: Path, skipped: SkippedRows) -> Iterator[tuple[int, str]]:
    for number, (line, fault) in enumerate(decoded_lines(path), 1):
        if fault:
            skipped.add(fault, f"{path}:{number}")
        else:
            yield number, line.rstrip("\r\n")


def _whole_file(path: Path, skipped: SkippedRows) -> Iterator[Row]:
    lines = []
    for line, fault in decoded_lines(path):
        if fault:
            skipped.add(fault, str(path))
            return
        lines.append(line)
    if lines:
        yield Row({"text": "".join(lines)}, str(path))


def _header(first_line: str, separators: str, header_names: Sequence[str]) -> tuple[list[str] | None, str]:
    """(column names or None when the line is data, the separator)."""
    csv.field_size_limit(_FIELD_CHARACTERS)
    known = {name.casefold() for name in header_names}
    for separator in separators:
        names = [name.strip() for name in next(csv.reader([first_line], delimiter=separator), [])]
        if any(name.casefold() in known for name in names):
            return names, separator
    return None, separators[0]


def _named(fields_of_rows: Iterator[tuple[int, list[str]]], header: list[str] | None, path: Path,
           skipped: SkippedRows) -> Iterator[Row]:
    names = header
    if header and len(set(header)) < len(header):
        raise ValueError(f"{path}: every column needs a name of its own; the header is {', '.join(header)}")
    for number, fields in fields_of_rows:
        if names is None:
            names = [f"column_{position}" for position in range(1, len(fields) + 1)]
        if len(fields) == len(names):
            yield Row(zip(names, fields), f"{path}:{number}")
        else:
            skipped.add("a number of fields other than the first line's", f"{path}:{number}")


def _csv_rows(path: Path, skipped: SkippedRows, header_names: Sequence[str]) -> Iterator[Row]:
    decoded = decoded_lines(path)
    first = next(decoded, None)
    if first is None:
        return
    header, separator = _header(first[0], ",;\t", header_names)
    faults: list[str] = []

    def lines() -> Iterator[str]:
        for line, fault in itertools.chain([first], decoded):
            if fault:
                faults.append(fault)
            yield line

    def fields_of_rows() -> Iterator[tuple[int, list[str]]]:
        # strict: a stray quote is an error of its row; otherwise it would silently glue rows together.
        reader = csv.reader(lines(), delimiter=separator, strict=True)
        while True:
            start = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                for line in range(start, reader.line_num + 1):  # an unclosed quote swallows many
                    skipped.add(f"broken quoting ({error})", f"{path}:{line}")
                faults.clear()
                continue
            if faults:
                skipped.add(faults[0], f"{path}:{start}")
                faults.clear()
            elif (fields or len(header or ()) == 1) and not (header and start == 1):
                yield start, fields or [""]

    yield from _named(fields_of_rows(), header, path, skipped)


def _tsv_rows(path: Path, skipped: SkippedRows, header_names: Sequence[str]) -> Iterator[Row]:
    lines = _good_lines(path, skipped)
    first = next(lines, None)
    if first is None:
        return
    header, _ = _header(first[1], "\t", header_names)
    data = lines if header else itertools.chain([first], lines)
    # A line is a row (IANA text/tab-separated-values); fields that some writers wrap in quotes are unwrapped.
    fields_of_rows = ((number, [_unquoted(field) for field in line.split("\t")])
                      for number, line in data if line or len(header or ()) == 1)
    yield from _named(fields_of_rows, header, path, skipped)


def _unquoted(field: str) -> str:
    if len(field) > 1 and field[0] == field[-1] == '"' and '"' not in field[1:-1].replace('""', ""):
        return field[1:-1].replace('""', '"')
    return field


def _jsonl_rows(path: Path, skipped: SkippedRows) -> Iterator[Row]:
    # Numbers keep the characters they have in the file: a label 1 is "1", a label 1.0 is "1.0".
    decode = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str).decode
    for number, line in _good_lines(path, skipped):
        if not line.strip():
            continue
        try:
            record = decode(line)
        except (ValueError, RecursionError):
            skipped.add("a line that is not JSON", f"{path}:{number}")
            continue
        if isinstance(record, dict):
            yield Row(_texts(record), f"{path}:{number}")
        else:
            skipped.add("a line that is not a JSON object", f"{path}:{number}")


def _parquet_rows(path: Path, skipped: SkippedRows) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        types = pyarrow.types
        flat = [field.name for field in file.schema_arrow if not types.is_nested(field.type)
                or (types.is_list(field.type) or types.is_large_list(field.type))
                and (types.is_string(field.type.value_type) or types.is_large_string(field.type.value_type))]
        number = 0
        for batch in file.iter_batches(batch_size=1024, columns=flat):
            for record in batch.to_pylist():
                number += 1
                try:
                    yield Row(_texts(record), f"{path}:{number}")
                except UnicodeDecodeError:
                    skipped.add(UNDECODABLE, f"{path}:{number}")
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path} is corrupt and cannot be read: {error}") from error


def _texts(record: dict) -> dict[str, str]:
    """The values that are text or have one obvious text, as a list of lines has; other lists and objects are left out."""
    texts = {}
    for name, value in record.items():
        if isinstance(value, str):
            texts[name] = value
        elif value is None:
            texts[name] = ""
        elif isinstance(value, bool):
            texts[name] = "true" if value else "false"
        elif isinstance(value, bytes):
            texts[name] = value.decode("utf-8")
        elif isinstance(value, list) and value and all(isinstance(line, str) for line in value):
            texts[name] = "\n".join(value)
        elif not isinstance(value, (list, dict)):
            texts[name] = str(value)
    return texts
