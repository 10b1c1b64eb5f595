"""Files of every kind and encoding → rows; what is broken is named."""

import codecs
import csv
import gzip
import itertools
import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.decoding import find_encoding
from data.files import Row
from data.sources import (LABEL_COLUMNS, TEXT_COLUMNS, SkippedRows, clean_text, find_column, fingerprint,
                          read_tables, read_texts)

FRENCH = ["Très déçu par ce film, à éviter.", "Voilà une œuvre réussie — l'été dernier", "Le café est fermé."]
CHINESE = ["这本书的内容很有意思，值得一看", "东西太差了，不会再买", "物流很快，包装完好"]


def read_rows(source, skipped, **options):
    return itertools.chain.from_iterable(read_tables(source, skipped, **options))


def rows_of(path, **options):
    skipped = SkippedRows()
    return [dict(row) for row in read_rows(str(path), skipped, **options)], skipped


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


TABLE = [{"text": "good, really\n\"fine\"", "label": "1"}, {"text": "很差", "label": "0"}]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.CSV", "a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_the_kinds_of_tables_give_the_same_rows(tmp_path, name):
    path = tmp_path / name
    if "csv" in name.lower():
        write(path, 'text,label\n"good, really\n""fine""",1\n很差,0\n')
    elif "jsonl" in name:
        write(path, "".join(json.dumps({**row, "label": int(row["label"])}) + "\n" for row in TABLE))
    else:
        pyarrow.parquet.write_table(pyarrow.table({
            "text": [row["text"] for row in TABLE], "label": [1, 0], "vectors": [[[0.5]], [[1.5]]],
            "more": [{"a": 1}, {"a": 2}]}), path)
    rows, skipped = rows_of(path)
    assert rows == TABLE and skipped.total == 0


def test_lists_of_texts_are_lines(tmp_path):
    write(tmp_path / "a.jsonl", '{"poem": ["春眠不觉晓", "处处闻啼鸟"]}\n')
    kinds = [pyarrow.list_(pyarrow.string()), pyarrow.large_list(pyarrow.large_string()),
             pyarrow.list_(pyarrow.field("element", pyarrow.string(), nullable=False))]
    for number, kind in enumerate(kinds):
        table = pyarrow.table({"poem": pyarrow.array([["春眠不觉晓", "处处闻啼鸟"]], kind)})
        pyarrow.parquet.write_table(table, tmp_path / f"{number}.parquet")
    for name in ("a.jsonl", "0.parquet", "1.parquet", "2.parquet"):
        assert rows_of(tmp_path / name)[0] == [{"poem": "春眠不觉晓\n处处闻啼鸟"}], name


def test_a_row_knows_its_place(tmp_path):
    path = write(tmp_path / "a.csv", 'text,label\n"two\nlines",1\nlast,0\n')
    assert [row.place for row in read_rows(str(path), SkippedRows())] == [f"{path}:2", f"{path}:4"]


def test_txt_is_a_row_a_line_or_a_file(tmp_path):
    path = write(tmp_path / "a.txt", "one\r\n\n  three\u2028still three\x85\nlast")
    assert [row["text"] for row in rows_of(path)[0]] == ["one", "", "  three\u2028still three\x85", "last"]
    assert [row["text"] for row in rows_of(path, whole_files=True)[0]] == [
        "one\r\n\n  three\u2028still three\x85\nlast"]


def test_tsv_is_a_row_a_line_with_or_without_quotes(tmp_path):
    path = write(tmp_path / "a.tsv", 'label\ttext\n1\t"he said ""no"""\n0\t"unclosed\n1\t5" disc\n')
    assert [row["text"] for row in rows_of(path)[0]] == ['he said "no"', '"unclosed', '5" disc']


@pytest.mark.parametrize("first_line, separator", [
    ("label;text", ";"), ("label\ttext", "\t"), ("Label,Text ", ",")])
def test_csv_with_other_separators(tmp_path, first_line, separator):
    path = write(tmp_path / "a.csv", f"{first_line}\n1{separator}fine\n")
    rows, _ = rows_of(path)
    assert [value for row in rows for value in row.values()] == ["1", "fine"]


def test_a_table_without_a_header(tmp_path):
    path = write(tmp_path / "a.tsv", "sports\t直击\nfinance\t券商\n")
    assert rows_of(path)[0] == [{"column_1": "sports", "column_2": "直击"},
                                {"column_1": "finance", "column_2": "券商"}]
    assert list(read_texts([str(path)], SkippedRows(), "column_2")) == ["直击", "券商"]
    with pytest.raises(ValueError, match="text column.*column_1, column_2"):
        list(read_texts([str(path)], SkippedRows()))


def test_a_header_of_unusual_names_is_known_by_what_the_user_asks_for(tmp_path):
    path = write(tmp_path / "a.csv", "id,utterance\n7,hello\n")
    assert list(read_texts([str(path)], SkippedRows(), "utterance")) == ["hello"]
    assert rows_of(path, header_names=["utterance"])[0] == [{"id": "7", "utterance": "hello"}]


def test_json_values_become_text(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": null, "a": 1.0, "b": true, "c": ["x", 1], "d": {}, "e": [[]], "f": 12}\n\n')
    assert rows_of(path)[0] == [{"text": "", "a": "1.0", "b": "true", "c": "x\n1", "f": "12"}]


@pytest.mark.parametrize("encoding, lines", [
    ("utf-8", CHINESE), ("utf-8-sig", CHINESE), ("utf-16", CHINESE), ("utf-32", FRENCH), ("gb18030", CHINESE),
    ("gbk", CHINESE * 5000), ("big5", ["這本書的內容很有意思，值得一看", "東西太差了，不會再買"]),
    ("latin-1", FRENCH[:1]), ("cp1252", FRENCH), ("utf-8", FRENCH),
    ("cp1251", ["Этот фильм мне очень понравился"]),
    ("cp932", ["この映画はとても面白かったです。"]), ("utf-16-le", None),
])
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_encodings(tmp_path, encoding, lines, packed):
    if lines is None:  # with a byte order mark
        lines, content = CHINESE, codecs.BOM_UTF16_BE + "\n".join(CHINESE).encode("utf-16-be")
    else:
        content = "\n".join(lines).encode(encoding)
    rows, skipped = rows_of(write(tmp_path / f"a.txt{packed}", content))
    assert [row["text"] for row in rows] == lines and skipped.total == 0


def test_the_encoding_shows_late_or_in_one_long_line(tmp_path):
    late = write(tmp_path / "late.txt", b"plain ascii\n" * 200_000 + FRENCH[0].encode("cp1252"))
    assert rows_of(late)[0][-1]["text"] == FRENCH[0]
    long_line = write(tmp_path / "long.txt", ("书" + CHINESE[0] * 10_000).encode("gb18030"))
    assert find_encoding(long_line) == "gb18030"
    cut = write(tmp_path / "cut.txt", b"x" * (2**20 - 1) + "é".encode())  # the read chunk ends inside the é
    assert find_encoding(cut) == "utf-8"


@pytest.mark.parametrize("kind", ["txt", "tsv", "csv", "jsonl"])
def test_a_line_of_ten_megabytes(tmp_path, kind):
    text = "很 long line " * 700_000
    lines = {"txt": text, "tsv": f"text\n{text}", "csv": f"text\n{text}", "jsonl": json.dumps({"text": text})}
    rows, _ = rows_of(write(tmp_path / f"a.{kind}", lines[kind]))
    assert [row["text"] for row in rows] == [text]


@pytest.mark.parametrize("name, content, reason, place", [
    ("a.txt", "好的\n".encode() * 3 + b"\xff\xfe\xfd\n" + "好\n".encode(), "bytes that are not text", 4),
    ("a.txt", "fine\nbad\0\nfine\nfine\n", "NUL", 2),
    ("a.csv", "text,label\nfine,1\nfine,1,2\nfine,0\nfine\n", "number of fields", 3),
    ("a.csv", 'text,label\nfine,1\n"ab"c,1\nfine,0\nfine,1\n', "broken quoting", 3),
    ("a.csv", 'text,label\nfine,1\nfine,0\nfine,1\nopen,"\nx,0\n', "broken quoting", 5),
    ("a.csv", "text,label\n好好,1\n".encode() + b"\xff\xff,1\nfine,0\nfine,1\n", "bytes that are not", 3),
    ("a.tsv", "text\tlabel\nfine\t1\nfine\nfine\t1\nfine\t0\n", "number of fields", 3),
    ("a.jsonl", '{"text": "a"}\n{"text": \n{"text": "b"}\n{"text": "c"}\n', "not JSON", 2),
    ("a.jsonl", '{"text": "a"}\n["text"]\n{"text": "b"}\n{"text": "c"}\n', "not a JSON object", 2),
    ("a.jsonl", '{"text": "a"}\n' + "[" * 200_000 + '\n{"text": "b"}\n{"text": "c"}\n', "not JSON", 2),
])
def test_bad_rows_are_counted_and_named(tmp_path, name, content, reason, place):
    path = write(tmp_path / name, content)
    rows, skipped = rows_of(path)
    assert len(rows) >= 2
    [(found, examples)] = [item for item in skipped.examples.items() if reason in item[0]]
    assert f"{path}:{place}" in examples and found in str(skipped)


def test_a_truncated_utf_16_file_is_corrupt_and_a_lone_surrogate_a_bad_row(tmp_path):
    text = "好的\n坏\n好\n".encode("utf-16")
    with pytest.raises(ValueError, match="corrupt"):
        rows_of(write(tmp_path / "a.txt", text[:-1]))
    rows, skipped = rows_of(write(tmp_path / "b.txt", text.replace("坏".encode("utf-16-le"), b"\x00\xd8")))
    assert [row["text"] for row in rows] == ["好的", "好"] and skipped.total == 1


def test_skipped_rows_stop_at_the_limit(tmp_path):
    path = write(tmp_path / "a.jsonl", "no\n" * 10)
    with pytest.raises(ValueError, match=r"3 rows cannot be used \(the limit is 3\): 3 × .*a.jsonl:1"):
        list(read_rows(str(path), SkippedRows(limit=3)))


def test_a_row_without_the_text_column_is_skipped(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "a"}\n{"title": "b"}\n{"text": {"c": "c"}}\n{"text": "d"}\n')
    skipped = SkippedRows()
    assert list(read_texts([str(path)], skipped)) == ["a", "d"]
    assert skipped.counts == {"no text in the column text": 2}
    assert skipped.examples["no text in the column text"] == [f"{path}:2", f"{path}:3"]


@pytest.mark.parametrize("name, content", [
    ("a.txt", b""), ("a.csv", b""), ("a.csv", b"text,label\n"), ("a.tsv", b""), ("a.jsonl", b"\n"),
    ("a.txt.gz", b"")])
def test_an_empty_file_is_an_error(tmp_path, name, content):
    with pytest.raises(ValueError, match="is empty"):
        rows_of(write(tmp_path / name, content))


def test_a_corrupt_file_is_an_error(tmp_path):
    packed = gzip.compress(b"".join(b"line %d\n" % number for number in range(100_000)))
    for name, content in [("cut.txt.gz", packed[:-100]), ("not.txt.gz", b"plain"), ("a.parquet", b"PAR1 no"),
                          ("bits.csv.gz", packed[:1000] + b"\0" * 50 + packed[1050:])]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} is corrupt"):
            rows_of(tmp_path / name)


def test_columns_need_names_of_their_own(tmp_path):
    with pytest.raises(ValueError, match="name of its own"):
        rows_of(write(tmp_path / "a.csv", "text,text\na,b\n"))


def test_folders_and_globs_are_read_in_the_order_of_names(tmp_path):
    write(tmp_path / "b" / "2.txt.gz", "two")
    write(tmp_path / "b" / "1.csv", "review,label\none,1\n")
    write(tmp_path / "a.txt", "zero")
    for name in ("README", "b/.hidden.txt", ".git/x.txt", "b/picture.png"):
        write(tmp_path / name, "not me")
    assert list(read_texts([str(tmp_path)], SkippedRows())) == ["zero", "one", "two"]
    assert list(read_texts([f"{tmp_path}/**/*"], SkippedRows())) == ["zero", "one", "two"]
    assert list(read_texts([f"{tmp_path}/b/[12].*"], SkippedRows())) == ["one", "two"]
    assert len(read_tables(str(tmp_path), SkippedRows())) == 3


@pytest.mark.parametrize("source, error, message", [
    ("missing.txt", FileNotFoundError, "which does not exist"),
    ("no*.txt", FileNotFoundError, "match at least"),
    ("a.doc", ValueError, "end in .txt"), ("a.parquet.gz", ValueError, "end in .txt"),
    ("*.doc", ValueError, "end in .txt"), ("", ValueError, "must have a name"),
    ("~nobody-of-that-name/a.txt", FileNotFoundError, "which does not exist"),
    ("empty", ValueError, "must hold files"), ("sample:nope", ValueError, "reviews-en, reviews-zh"),
    ("sample:sms:dev", ValueError, "train, validation, test")])
def test_a_source_that_is_none_is_an_error_before_reading(tmp_path, monkeypatch, source, error, message):
    (tmp_path / "empty").mkdir()
    write(tmp_path / "a.doc", "x")
    write(tmp_path / "a.parquet.gz", "x")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        read_rows(source, SkippedRows())


def test_find_column():
    assert find_column(["id", "Review", "label"], None, TEXT_COLUMNS, "text") == "Review"
    assert find_column(["content", "text"], None, TEXT_COLUMNS, "text") == "text"
    assert find_column(["x", "text"], "X", TEXT_COLUMNS, "text") == "x"
    assert find_column({"编号": "1", "评论": "好", "标签": "1"}, None, LABEL_COLUMNS, "label") == "标签"
    assert find_column(["only"], None, TEXT_COLUMNS, "text") == "only"
    for columns, wanted, role in [
            (["only"], None, "label"), (["a", "text"], "b", "text"), (["a", "b"], None, "text")]:
        with pytest.raises(ValueError, match=f"{role}.* Received the columns: {', '.join(columns)}"):
            find_column(columns, wanted, LABEL_COLUMNS, role)
    with pytest.raises(ValueError, match="^a.csv:2: the label column must be found"):
        find_column(Row({"only": "x"}, "a.csv:2"), None, LABEL_COLUMNS, "label")


def test_clean_text():
    assert clean_text(" a<br /><B\0R>b\r\nc\rd\te\0\x07\x7f\x9f\ufefff\ud800 ") == "a\n\nb\nc\nd\tef"
    untouched = "İ é e\u0301 👩\u200d🚀 ﬁ Ａ １ <b>x</b> &amp; \u200b 「好」"
    assert clean_text(untouched) == untouched


@settings(deadline=None)
@given(st.text(st.characters(exclude_characters="<")))
def test_clean_text_is_idempotent_and_can_be_written(text):
    assert clean_text(clean_text(text)) == clean_text(text)
    clean_text(text).encode()


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r")),
                          st.sampled_from("01")), min_size=1, max_size=5))
def test_what_python_writes_as_csv_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    assert [tuple(row.values()) for row in read_rows(str(path), SkippedRows())] == rows


def test_fingerprint_follows_the_contents(tmp_path):
    path = write(tmp_path / "a" / "1.txt", "one")
    before = fingerprint(str(tmp_path / "a"))
    assert before == fingerprint(str(path)) == fingerprint(str(write(tmp_path / "tokenizer.json", "one")))
    write(path, "two")
    assert fingerprint(str(tmp_path / "a")) != before


def test_tfds(tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")

    class TinyReviews(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = tmp_path  # a builder outside of a package has no folder of its own

        def _info(self):
            return self.dataset_info_from_configs(features=tfds.features.FeaturesDict({
                "text": tfds.features.Text(), "label": tfds.features.ClassLabel(names=["neg", "pos"]),
                "stars": tfds.features.Scalar(np.int32),
                "words": tfds.features.Sequence(tfds.features.Text())}))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(1), "test": self._generate_examples(-1)}

        def _generate_examples(self, label):
            yield 0, {"text": "很好 fine", "label": label, "stars": 5, "words": ["a"]}

    builder = TinyReviews(data_dir=tmp_path)
    monkeypatch.setattr(tfds, "builder", lambda name: builder)
    assert rows_of("tfds:tiny_reviews")[0] == [{"text": "很好 fine", "label": "pos", "stars": "5"}]
    assert rows_of("tfds:tiny_reviews:test[:100%]")[0][0]["label"] == ""
    with pytest.raises(ValueError, match="tfds:tiny_reviews:dev cannot be"):
        rows_of("tfds:tiny_reviews:dev")

    def offline():
        raise ConnectionError("no route")

    monkeypatch.setattr(builder, "download_and_prepare", offline)
    with pytest.raises(ValueError, match="tfds:tiny_reviews cannot be downloaded or read: no route"):
        rows_of("tfds:tiny_reviews")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="text sets. Received: no_such_set_at_all"):
        rows_of("tfds:no_such_set_at_all")
