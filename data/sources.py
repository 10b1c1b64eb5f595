"""A source named on the command line → an iterator of rows (column → text), or of cleaned texts.

A source is a file (.txt .csv .tsv .jsonl .parquet, all but the last also in .gz), a glob, a folder,
`tfds:NAME[:split]` or `sample:NAME[:split]`. Files may be in any encoding that can be recognised.
"""

import glob
import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

from data.duplicates import exact_hash, fold
from data.files import SUFFIXES, Row, SkippedRows, file_kind, read_file

TEXT_COLUMNS = ("text", "sentence", "content", "review", "comment", "body", "document", "article", "message",
                "tweet", "title", "headline", "question", "sentence1", "text_a", "premise", "question1",
                "文本", "内容", "正文", "评论", "句子", "标题")
PAIR_COLUMNS = ("pair", "text_pair", "sentence2", "text_b", "hypothesis", "question2", "context", "passage",
                "句子2", "文本2")
LABEL_COLUMNS = ("label", "labels", "class", "category", "sentiment", "target", "topic", "intent", "rating",
                 "stars", "score", "标签", "类别", "分类", "情感")
HEADINGS_LEFT_OUT = 10  # of so many texts one has the first heading alone

_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_LINE_END = re.compile("\r\n?")
# Control characters but newline and tab; lone surrogates, which cannot be written; a byte order mark amid
# text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufeff]")


def read_tables(source: str, skipped: SkippedRows, *, header_names: Sequence[str] = (),
                whole_files: bool = False) -> list[Iterator[Row]]:
    """The rows of a source: an iterator for each file, since files of one source may have different columns.

    Files come in the order of their names; each row is a dict column → text with a `place`.

    Args:
        source: see the module. tfds: without a split is the split train, sample: without a split is all of
            it.
        skipped: counts and names the rows that cannot be used.
        header_names: the columns the user named. The first line of a .csv or .tsv is its header when it names
            one of these or one of the usual columns; otherwise it is data and the columns are column_1,
            column_2 ….
        whole_files: a .txt file is one row, not one a line.

    Raises:
        FileNotFoundError, ValueError: at once when nothing can be read under that name; while reading when a
            file is corrupt or empty, or too many rows were skipped.
    """
    scheme, _, name = source.partition(":")
    if scheme in SCHEMES:
        read, _ = SCHEMES[scheme]
        return [read(name)]
    header_names = (*TEXT_COLUMNS, *PAIR_COLUMNS, *LABEL_COLUMNS, *header_names)
    paths = find_paths(source)
    return [read_file(path, skipped, header_names, whole_files=whole_files, alone=len(paths) == 1) for path in paths]


def read_texts(sources: Sequence[str], skipped: SkippedRows, text_column: str | None = None, *,
               whole_files: bool = False, heading_columns: Sequence[str] = ()) -> Iterator[str]:
    """The cleaned texts of sources, one after the other; an empty row gives an empty text.

    The text column is `text_column` or found by its name, in each file on its own; a row that lacks it is
    counted in `skipped`.

    Args:
        heading_columns: columns whose values stand above each text, a line each. Of a tenth of the texts those after the
            first are left empty: a model learns to do without.

    Raises:
        FileNotFoundError, ValueError: as `read_tables`; a file has no text column.
    """
    wanted = (*([text_column] if text_column else []), *heading_columns)
    tables = [table for source in sources
              for table in read_tables(source, skipped, header_names=wanted, whole_files=whole_files)]
    return _texts_of(tables, skipped, text_column, heading_columns)


def _texts_of(tables: Iterable[Iterator[Row]], skipped: SkippedRows, text_column: str | None,
              heading_columns: Sequence[str]) -> Iterator[str]:
    for table in tables:
        column = None
        for row in table:
            if column is None:
                column = find_column(row, text_column, TEXT_COLUMNS, "text")
                headings = [find_column(row, name, (), "heading") for name in heading_columns]
            if column not in row:
                skipped.add(f"no text in the column {column}", row.place)
                continue
            text = clean_text(row[column])
            if text and headings:
                values = [" ".join(clean_text(row.get(name, "")).split()) for name in headings]
                if exact_hash(fold(text)) % HEADINGS_LEFT_OUT == 0:  # the same wherever the text stands, held out or not
                    values[1:] = [""] * (len(values) - 1)
                text = "\n".join([*values, text])
            yield text


def find_column(columns: Collection[str], wanted: str | None, candidates: Sequence[str], role: str) -> str:
    """The column called `wanted`, or the first of `candidates` that is there, in whatever case.

    The only column of a source is its text, whatever its name.

    Args:
        columns: the names there are; or a row, whose place the message then has.
        role: what the column holds ("text", "label" …), for the message.

    Raises:
        ValueError: there is none; the message lists the columns.
    """
    by_folded_name = {column.strip().casefold(): column for column in reversed(list(columns))}
    for name in [wanted] if wanted else candidates:
        if name in columns:
            return name
        if name.casefold() in by_folded_name:
            return by_folded_name[name.casefold()]
    if len(columns) == 1 and role == "text" and not wanted:
        return next(iter(columns))
    rule = (f"there must be a column {wanted} for the {role}" if wanted
            else f"the {role} column must be found by its name or be named")
    place = f"{columns.place}: " if isinstance(columns, Row) else ""
    raise ValueError(f"{place}{rule}. Received the columns: {', '.join(columns)}")


def clean_text(text: str) -> str:
    """Control characters but newline and tab removed, CR LF → LF, `<br />` → newline, stripped; no more."""
    if "\r" in text:
        text = _LINE_END.sub("\n", text)
    if not text.isprintable():  # none of those is; a third of the time
        text = _CONTROL.sub("", text)
    if "<" in text:
        text = _BREAK.sub("\n", text)
    return text.strip()


def find_paths(source: str) -> list[Path]:
    """The files of a path, a folder (everything readable in it and under it, not hidden) or a glob; sorted.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: something is there, but no file of a kind that can be read; the source is empty.
    """
    if not source:  # to pathlib it is the folder where we are
        raise ValueError("a source must have a name. Received: an empty one")
    path = Path(os.path.expanduser(source))  # pathlib's own has no words for a user whom nobody knows
    if path.is_file():
        if file_kind(path) is None:
            raise ValueError(f"a file to read must end in {_kinds()}. Received: {source}")
        return [path]
    if path.is_dir():
        found = [file for file in path.rglob("*")
                 if not any(part.startswith(".") for part in file.relative_to(path).parts)]
    elif glob.has_magic(source):
        found = [Path(name) for name in glob.glob(str(path), recursive=True)]
        if not found:
            raise FileNotFoundError(f"a pattern must match at least one file. Received: {source}")
    else:
        raise FileNotFoundError("a source is a file, a folder, a pattern, tfds:NAME[:split] or "
                                f"sample:NAME[:split]. Received: {source}, which does not exist")
    readable = sorted(file for file in found if file.is_file() and file_kind(file))
    if not readable:
        raise ValueError(f"a folder or pattern must hold files that end in {_kinds()}. Received: {source}")
    return readable


def _kinds() -> str:
    return f"{', '.join(SUFFIXES)} (all but .parquet also in .gz)"


def fingerprint(source: str) -> str:
    """A hexadecimal SHA-256 that changes when what a source holds changes; file names do not count, their
    order does.

    Of a sample it is that of the installed package's version, of a TensorFlow dataset that of its name.
    """
    scheme, _, name = source.partition(":")
    digest = hashlib.sha256()
    if scheme in SCHEMES:
        _, version = SCHEMES[scheme]
        digest.update(" ".join([source, *version(name)]).encode())
    else:
        path = Path(source).expanduser()
        for file in [path] if path.is_file() else find_paths(source):
            with open(file, "rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _read_sample(name_and_split: str) -> Iterator[Row]:
    from data.samples import read_sample  # which imports this file

    return read_sample(name_and_split)


def _version_of_sample(name_and_split: str) -> tuple[str, str]:
    from data.samples import find_sample

    package = find_sample(name_and_split)[0].package
    return package, metadata.version(package)


def _read_tfds(name_and_split: str) -> Iterator[Row]:
    """`name[:split]` of tensorflow_datasets; a class is its name or "", nested features are left out."""
    import tensorflow_datasets as tfds

    name, _, split = name_and_split.partition(":")
    split = split or "train"
    try:
        builder = tfds.builder(name)
        builder.download_and_prepare()
        dataset = builder.as_dataset(split=split, shuffle_files=False)
    except tfds.core.DatasetNotFoundError:
        raise ValueError("tfds:NAME must be one of tensorflow_datasets' text sets. "
                         f"Received: {name}") from None
    except (OSError, ImportError, ValueError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"tfds:{name_and_split} cannot be downloaded or read: {reason}") from error
    features = builder.info.features
    for number, example in enumerate(tfds.as_numpy(dataset), 1):
        texts = {column: _tfds_text(features[column], value) for column, value in example.items()
                 if getattr(value, "ndim", 0) == 0 and not isinstance(value, dict)}
        yield Row(texts, f"tfds:{name}:{split} row {number}")


def _tfds_text(feature, value) -> str:
    if hasattr(feature, "int2str"):
        return feature.int2str(int(value)) if value >= 0 else ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


# What stands before the colon of a source that is no file → how the rest is read, and words that change with what is there.
SCHEMES = {"sample": (_read_sample, _version_of_sample), "tfds": (_read_tfds, lambda name_and_split: ())}
