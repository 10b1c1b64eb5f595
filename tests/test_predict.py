"""Predictions keep rows, columns and order; they come from the command line, standard input and files."""

import csv
import dataclasses
import gzip
import io
import json

import numpy as np
import pytest

from app.classifier import load_classifier
from app.predict import predict

ROWS = [{"id": "7", "text": "a good film", "note": 'says "so", twice'}, {"id": "3", "text": "", "note": ""},
        {"id": "5", "text": "质量很差", "note": "两\n行"}, {"id": "1", "text": "  ", "note": "blank"},
        {"id": "2", "text": "great fun", "note": "tab\there"}]


@pytest.fixture(scope="module")
def classifier(classifier_run):
    return load_classifier(classifier_run)


@pytest.fixture
def run(classifier_run, classifier, monkeypatch):
    """`classifier_run`, which `predict` finds loaded already."""
    monkeypatch.setattr("app.classifier.load_classifier", lambda run: classifier)
    return classifier_run


def write_table(path, rows, delimiter=","):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def read_table(path, delimiter=","):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def test_texts_from_the_command_line(classifier_run, classifier, capsys):
    texts = ("a good [bold]film[/bold]", "质量很差")
    results = predict(classifier_run, texts)
    expected = classifier.probabilities(texts)
    np.testing.assert_allclose([list(result["probabilities"].values()) for result in results], expected, atol=1e-6)
    assert [result["label"] for result in results] == [classifier.label_names[n] for n in expected.argmax(axis=1)]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == [result["label"] for result in results]
    assert lines[0].endswith(texts[0]) and f"{expected[0].max():.4f}" in lines[0]


def test_texts_from_standard_input(run, classifier, monkeypatch, capsys):
    source = "first line\r\n第二行\n\nlatin caf\u00e9".encode() + b" \xe9\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(source), encoding="ascii"))
    assert predict(run) == {"rows": 4}
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[-1] for line in lines] == ["first line", "第二行", "", "latin café \ufffd"]
    assert [line[0] in classifier.label_names for line in lines] == [True, True, False, True]


def test_bytes_of_the_command_line_that_are_no_text(run):
    (result,) = predict(run, ("caf\udce9",))
    assert result["text"] == "caf?"


def test_a_file_keeps_rows_columns_and_order(run, classifier, tmp_path, monkeypatch):
    monkeypatch.setattr("app.predict.CHUNK", 2)  # more chunks than one, and one whose rows are all empty
    source = write_table(tmp_path / "in.csv", ROWS)
    counts = predict(run, data=source, to=tmp_path / "new" / "out.csv")
    rows = read_table(tmp_path / "new" / "out.csv")
    added = ["label_predicted", "score", *(f"probability_{name}" for name in classifier.label_names)]
    assert list(rows[0]) == ["id", "text", "note", *added]
    assert [row["id"] for row in rows] == [row["id"] for row in ROWS]
    assert [row["note"] for row in rows] == [row["note"] for row in ROWS]
    assert counts["rows"] == 5 and counts["empty"] == 2 and counts["skipped"] == {}
    filled = [row for row in rows if row["text"].strip()]
    expected = classifier.probabilities([row["text"] for row in filled])
    for row, probabilities in zip(filled, expected, strict=True):
        assert row["label_predicted"] == classifier.label_names[probabilities.argmax()]
        assert float(row["score"]) == pytest.approx(probabilities.max(), abs=1e-6)
        np.testing.assert_allclose([float(row[name]) for name in added[2:]], probabilities, atol=1e-6)
    assert all(row[name] == "" for row in rows if not row["text"].strip() for name in added)


def test_a_blank_line_of_a_single_column_is_an_empty_text(run, tmp_path):
    for name in ("in.csv", "in.tsv"):
        (tmp_path / name).write_text("text\ngood\n\nbad\n")
        assert predict(run, data=str(tmp_path / name), to=tmp_path / f"{name}.jsonl")["rows"] == 3
        rows = [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        assert [row["text"] for row in rows] == ["good", "", "bad"] and rows[1]["score"] is None


def test_a_tsv_has_a_line_a_row(run, tmp_path):
    (tmp_path / "in.jsonl").write_text(json.dumps({"text": "good\tfilm\r\nbad"}) + "\n")
    predict(run, data=str(tmp_path / "in.jsonl"), to=tmp_path / "out.tsv")
    header, line = (tmp_path / "out.tsv").read_text().splitlines()
    assert line.split("\t")[0] == "good film bad" and header.startswith("text\t")


def test_a_folder_of_files_with_different_columns(run, tmp_path):
    (tmp_path / "in").mkdir()
    write_table(tmp_path / "in" / "a.csv", [{"text": "good"}])
    write_table(tmp_path / "in" / "b.csv", [{"id": "1", "review": "bad"}])
    predict(run, data=str(tmp_path / "in"), to=tmp_path / "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert rows[1]["review"] == "bad" and None not in (rows[0]["score"], rows[1]["score"])


def test_pairs(run, tmp_path, monkeypatch, capsys):
    takes_pairs = dataclasses.replace(load_classifier(run), takes_pairs=True)
    monkeypatch.setattr("app.classifier.load_classifier", lambda run: takes_pairs)
    expected = takes_pairs.probabilities(["good", "x"], ["film", ""])
    result, _ = predict(run, ("good", "film", "x", ""))
    assert result["pair"] == "film" and result["score"] == pytest.approx(expected[0].max(), abs=1e-6)
    monkeypatch.setattr("sys.stdin", io.StringIO("good\tfilm\n"))
    capsys.readouterr()
    predict(run)
    assert f"\t{expected[0].max():.4f}\t" in capsys.readouterr().out
    source = write_table(tmp_path / "in.csv", [{"text": "good", "pair": "film"}, {"text": "x", "pair": ""}])
    predict(run, data=source, to=tmp_path / "out.csv")
    np.testing.assert_allclose([float(row["score"]) for row in read_table(tmp_path / "out.csv")],
                               expected.max(axis=1), atol=1e-6)
    with pytest.raises(ValueError, match="even number"):
        predict(run, ("alone",))
    monkeypatch.setattr("sys.stdin", io.StringIO("no tab\n"))
    with pytest.raises(ValueError, match="tab"):
        predict(run)


@pytest.mark.parametrize("name", ["out.tsv", "out.csv.gz", "out.jsonl", "out.jsonl.gz"])
def test_every_output_form(run, tmp_path, name):
    to = tmp_path / name
    predict(run, data=write_table(tmp_path / "in.csv", ROWS), to=to)
    if "jsonl" in name:
        content = gzip.decompress(to.read_bytes()) if name.endswith(".gz") else to.read_bytes()
        rows = [json.loads(line) for line in content.decode("utf-8").splitlines()]
        assert isinstance(rows[0]["score"], float) and rows[1]["score"] is None
    else:
        rows = read_table(to, "\t" if ".tsv" in name else ",")
    assert [row["text"] for row in rows] == [row["text"] for row in ROWS]


@pytest.mark.parametrize("name", ["in.tsv", "in.jsonl", "in.txt", "in.csv.gz"])
def test_every_input_form(run, tmp_path, name):
    texts = ["a good film", "质量很差", "great fun"]
    rows = [{"text": text} for text in texts]
    source = tmp_path / name
    if name == "in.tsv":
        write_table(source, rows, "\t")
    elif name == "in.csv.gz":
        write_table(tmp_path / "in.csv", rows)
        source.write_bytes(gzip.compress((tmp_path / "in.csv").read_bytes()))
    elif name == "in.jsonl":
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        source.write_text("\n".join(texts) + "\n", encoding="utf-8")
    predict(run, data=str(source), to=tmp_path / "out.csv")
    assert [row["text"] for row in read_table(tmp_path / "out.csv")] == texts


def test_rows_that_cannot_be_read_are_counted(run, tmp_path, capsys):
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "good"}\n{"text": broken\n{"text": "bad"}\n')
    counts = predict(run, data=str(source), to=tmp_path / "out.csv")
    assert counts["rows"] == 2 and sum(counts["skipped"].values()) == 1
    assert "could not be read: 1 × " in capsys.readouterr().out


def test_texts_are_read_as_in_training(run):
    raw, clean = predict(run, ("good<br />film\x00\x0b", "good\nfilm"))
    assert raw["probabilities"] == clean["probabilities"]


def test_columns_may_differ_in_jsonl_only(run, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "good"}\n{"text": "bad", "more": "x"}\n')
    predict(run, data=str(source), to=tmp_path / "out.jsonl")
    assert json.loads((tmp_path / "out.jsonl").read_text().splitlines()[1])["more"] == "x"
    with pytest.raises(ValueError, match="more"):
        predict(run, data=str(source), to=tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_an_existing_file_needs_overwrite(run, tmp_path):
    source, to = write_table(tmp_path / "in.csv", ROWS), tmp_path / "out.csv"
    to.write_text("mine")
    with pytest.raises(ValueError, match="--overwrite"):
        predict(run, data=source, to=to)
    assert to.read_text() == "mine"
    predict(run, data=source, to=to, overwrite=True)
    assert len(read_table(to)) == len(ROWS)
    predict(run, data=source, to=tmp_path / "in.csv", overwrite=True)  # onto itself
    assert read_table(tmp_path / "in.csv")[0]["text"] == ROWS[0]["text"]


def test_nothing_half_written_remains(run, tmp_path, monkeypatch):
    source, to = write_table(tmp_path / "in.csv", ROWS), tmp_path / "out.csv"
    to.write_text("mine")
    monkeypatch.setattr("app.predict.CHUNK", 2)
    calls = iter([None, KeyboardInterrupt])

    def interrupted(self, texts, pairs=None, progress=None):
        if error := next(calls):
            raise error
        return np.full((len(texts), len(self.label_names)), 1 / len(self.label_names), np.float32)

    monkeypatch.setattr("app.classifier.Classifier.probabilities", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict(run, data=source, to=to, overwrite=True)
    assert to.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv"]


def test_users_errors(run, tmp_path):
    source, to = write_table(tmp_path / "in.csv", ROWS), tmp_path / "out.csv"
    taken = write_table(tmp_path / "taken.csv", [{"text": "good", "score": "1"}])
    (tmp_path / "empty.csv").write_text("text\n")
    for arguments, words in (
        ({"data": source}, "go together"),
        ({"to": to}, "go together"),
        ({"data": source, "to": to, "texts": ("a",)}, "both"),
        ({"data": source, "to": tmp_path / "out.xlsx"}, "must end in"),
        ({"data": taken, "to": to}, "score"),
        ({"data": source, "to": to, "text_column": "review"}, "review"),
        ({"data": str(tmp_path / "empty.csv"), "to": to}, "no rows"),
    ):
        with pytest.raises(ValueError, match=words):
            predict(run, **arguments)
        assert not to.exists()


def test_a_terminal_without_text_is_told_what_to_do(run, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    with pytest.raises(ValueError, match="nothing to read"):
        predict(run)
