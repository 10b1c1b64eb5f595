"""Labelled rows: names of classes, errors that name the place, splits and draws that can be repeated."""

import csv

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from data.sources import SkippedRows
from data.tasks import LABEL_ALIASES, Examples, class_weights, few_labels, read_examples, split, without_duplicates


@pytest.fixture
def table(tmp_path):
    def write(rows, columns=("text", "label"), name="rows.csv"):
        with open(tmp_path / name, "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([columns, *rows])
        return str(tmp_path / name)
    return write


def read(*sources, task="classify", **options):
    return read_examples(sources, task, SkippedRows(), **options)


def some_examples(labels, pairs=False):
    texts = [f"text {number}" for number in range(len(labels))]
    names = tuple(f"class {n}" for n in range(max(labels) + 1))
    return Examples(texts, [f"pair {number}" for number in range(len(labels))] if pairs else None,
                    np.array(labels, np.int32), names)


@pytest.mark.parametrize(("task", "written", "names"), [
    ("sentiment", ["neg", "POS", "Positive", "0", "1", "差评", "好评"], ("negative", "positive")),
    ("spam", ["ham", "spam", "Junk", "no", "正常"], ("ham", "spam")),
    ("classify", ["neg", "pos", "0"], ("0", "neg", "pos")),
    ("topic", ["sport", "财经"], ("sport", "财经")),
])
def test_classes_have_one_name(table, task, written, names):
    examples = read(table([(f"text {n}", label) for n, label in enumerate(written)]), task=task)
    assert examples.label_names == names and examples.labels.dtype == np.int32
    aliases = {alias: name for name, all_of in LABEL_ALIASES[task].items() for alias in all_of}
    expected = [aliases.get(label.casefold(), label) for label in written]
    assert [names[label] for label in examples.labels] == expected
    assert len(examples) == len(written) and examples.pairs is None


def test_no_alias_stands_for_two_classes():
    for task, classes in LABEL_ALIASES.items():
        aliases = [alias for all_of in classes.values() for alias in all_of]
        assert len(aliases) == len(set(aliases)), task
        assert all(alias == alias.casefold() for alias in aliases), task


def test_columns_are_found_or_named(table):
    source = table([("7", "good", "bad", "1"), ("8", "fine", "poor", "0")], ("id", "review", "answer", "stars"))
    found = read(source)
    assert found.texts == ["good", "fine"] and found.label_names == ("0", "1")
    named = read(source, text_column="answer", label_column="id", pair_column="review")
    assert named.texts == ["bad", "poor"] and named.pairs == ["good", "fine"] and named.label_names == ("7", "8")


def test_files_may_have_different_columns(table):
    first = table([("good", "pos")], ("review", "sentiment"), "one.csv")
    second = table([("pos", "fine"), ("neg", "poor")], ("label", "text"), "two.csv")
    examples = read(first, second)
    assert examples.texts == ["good", "fine", "poor"] and examples.labels.tolist() == [1, 1, 0]


@pytest.mark.parametrize(("columns", "options", "message"), [
    (("text", "colour"), {}, "the label column must be found .*. Received the columns: text, colour"),
    (("words", "label"), {}, "the text column must be found .*. Received the columns: words, label"),
    (("text", "label"), {"label_column": "stars"}, "there must be a column stars for the label.*text, label"),
    (("text", "label"), {"pair_column": "answer"}, "there must be a column answer for the pair.*text, label"),
])
def test_a_missing_column_lists_those_there_are(table, columns, options, message):
    with pytest.raises(ValueError, match=f"rows.csv:2: {message}"):
        read(table([("good", "pos")], columns), **options)


def test_rows_without_text_or_label_are_counted(table):
    skipped = SkippedRows()
    source = table([("good", "pos"), ("  ", "neg"), ("bad", " "), ("<br>", "neg"), ("poor", "neg")])
    examples = read_examples([source], "classify", skipped)
    assert examples.texts == ["good", "poor"]
    assert skipped.counts["no text"] == 2 and skipped.counts["no label"] == 1
    assert skipped.examples["no label"][0].endswith("rows.csv:4")


def test_texts_are_cleaned(table):
    examples = read(table([(" good<br />film\x0b ", " pos ")]))
    assert examples.texts == ["good\nfilm"] and examples.label_names == ("pos",)


def test_an_unseen_label_names_label_and_place(table):
    source = table([("good", "pos"), ("poor", "neg"), ("so so", "neutral")])
    with pytest.raises(ValueError, match="a label must be one of negative, positive. "
                                         "Received: 'neutral' at .*rows.csv:4"):
        read(source, task="sentiment", label_names=("negative", "positive"))
    known = read(table([("good", "pos")]), task="sentiment", label_names=("negative", "positive"))
    assert known.labels.tolist() == [1] and known.label_names == ("negative", "positive")


def test_no_usable_row(table):
    with pytest.raises(ValueError, match="at least one row with text and label. Received: none in .*rows.csv"):
        read(table([("", "pos")]))
    with pytest.raises(ValueError, match="a task is one of sentiment, spam, topic, classify. Received: ner"):
        read(table([("a", "b")]), task="ner")


def test_without_duplicates():
    examples = Examples(["a", "b", "a", "c", "b", "d"], None, np.array([0, 1, 0, 1, 0, 0], np.int32), ("x", "y"))
    kept, dropped = without_duplicates(examples)  # b stands under two labels
    assert kept.texts == ["a", "c", "d"] and kept.labels.tolist() == [0, 1, 0] and dropped == 3
    pairs = Examples(["a", "a", "a"], ["b", "c", "b"], np.array([0, 1, 0], np.int32), ("x", "y"))
    kept, dropped = without_duplicates(pairs)
    assert list(zip(kept.texts, kept.pairs)) == [("a", "b"), ("a", "c")] and dropped == 1
    nothing, dropped = without_duplicates(Examples(["a", "a"], None, np.array([0, 1], np.int32), ("x", "y")))
    assert len(nothing) == 0 and dropped == 2


def test_split_keeps_the_proportions():
    examples = some_examples([0] * 200 + [1] * 50 + [2] * 10, pairs=True)
    first, second = split(examples, 0.2, seed=3)
    assert np.bincount(second.labels).tolist() == [40, 10, 2] and np.bincount(first.labels).tolist() == [160, 40, 8]
    assert sorted(first.texts + second.texts) == sorted(examples.texts)
    for part in (first, second):
        assert part.label_names == examples.label_names
        numbers = [int(text.split()[1]) for text in part.texts]
        assert numbers == sorted(numbers) and part.pairs == [f"pair {number}" for number in numbers]
        np.testing.assert_array_equal(part.labels, examples.labels[numbers])
    assert split(examples, 0.2, seed=3)[1].texts == second.texts != split(examples, 0.2, seed=4)[1].texts


def test_split_of_few_examples():
    first, second = split(some_examples([0, 0, 1, 1, 2]), 0.1)
    assert np.bincount(first.labels).tolist() == [1, 1, 1]  # a class of one stays where it is learned from
    assert np.bincount(second.labels).tolist() == [1, 1]
    first, second = split(some_examples([0, 1]), 0.5)
    assert len(first) == 2 and len(second) == 0


def test_few_labels_are_even():
    examples = some_examples([0] * 300 + [1] * 40 + [2] * 5)
    assert np.bincount(few_labels(examples, 15).labels).tolist() == [5, 5, 5]
    assert np.bincount(few_labels(examples, 65).labels).tolist() == [30, 30, 5]
    assert np.bincount(few_labels(examples, 145).labels).tolist() == [100, 40, 5]
    assert np.ptp(np.bincount(few_labels(examples, 10).labels)) == 1
    drawn = few_labels(examples, 20, seed=1)
    assert drawn.texts == few_labels(examples, 20, seed=1).texts != few_labels(examples, 20, seed=2).texts
    assert len(set(drawn.texts)) == 20
    assert len(few_labels(examples, 345)) == 345
    for count in (346, 2, 0, -1):
        with pytest.raises(ValueError, match=f"an example of each class .*: 3 to 345. Received: {count}"):
            few_labels(examples, count)


def test_class_weights_equal_scikit_learn():
    labels = np.array([0] * 70 + [1] * 20 + [2] * 10)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    found = class_weights(labels, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == np.float32
    with_an_empty_class = class_weights(labels, 4)
    np.testing.assert_allclose(with_an_empty_class, [*expected, 0], rtol=1e-6)
    assert with_an_empty_class[labels].mean() == pytest.approx(1.0)
