"""The benchmarks without their peers: what is counted, what is asked of the peers, what the report writes."""

import gzip
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from app.objectives import build_trainer
from benchmarks import (language_models, masked_lm, peers, pretraining_speed, recommendation, report, tokenizing,
                        translation)
from benchmarks.baseline import split_files
from benchmarks.masked_lm import IGNORED, check_vocabulary, held_out_batches, minutes_to
from benchmarks.pretraining_speed import Ours, prepare_text, sentences
from benchmarks.pretraining_speed_peer import documents
from data.order import row_numbers
from data.prepared import load_prepared
from data.tokenizer import CLS, SEP, SPECIAL_TOKENS
from models.config import TransformerConfig

ROOT = Path(__file__).parents[1]
CONFIG = TransformerConfig(vocabulary_size=32, hidden_dim=16, num_layers=1, num_heads=2, intermediate_dim=32,
                           sequence_length=12)
README = "# x\n\n<!-- results -->\nold\n<!-- /results -->\n\nmore\n"


def a_side(monkeypatch, program):
    monkeypatch.setattr(peers, "_command", lambda module, arguments: [sys.executable, "-c", program])
    return peers.Side("any")


def test_sides_answer_in_turn(monkeypatch):
    program = "from benchmarks.peers import serve\nserve(lambda number: print('noise') or 2 * number)"
    with a_side(monkeypatch, program) as one, a_side(monkeypatch, program) as other:
        assert one.ask(4) == 8
        assert peers.take_turns({"one": one, "other": other}, 5, rounds=2) == {"one": [10, 10], "other": [10, 10]}


def test_a_side_that_fails_says_why(monkeypatch):
    with pytest.raises(RuntimeError, match="code 1:(.|\n)*KeyError: 'why'"):
        a_side(monkeypatch, "raise KeyError('why')")


def test_our_speed_counts_the_tokens_that_are_not_padding(prepared_corpus):
    ours, rows = Ours(prepared_corpus, size="tiny"), load_prepared(prepared_corpus).train_rows
    for step in range(2):
        answer = ours.ask(0.0)  # one step is the least
        numbers = row_numbers(0, step, pretraining_speed.BATCH_SIZE, len(rows)).numpy()
        assert answer["steps"] == 1 and answer["tokens"] == np.count_nonzero(rows[numbers])
        assert 0 < answer["waiting"] < answer["seconds"]


def test_reviews_become_sentences_and_ids(tmp_path):
    reviews = ["A film. Is it good?<br /><br />No! It cost 3.5 dollars.", "Another one.  Fine."]
    parts = [part for review in reviews for part in sentences(review)]
    assert parts == ["A film.", "Is it good?", "No!", "It cost 3.5 dollars.", "Another one.", "Fine."]
    folder, path = prepare_text([f"{part} {n}" for n, part in enumerate(5 * parts)], tmp_path / "text",
                                vocabulary_size=100, validation_share=0.1)
    ids, prepared = np.load(path), load_prepared(folder)
    found = documents(ids, "sentences")
    assert all(one[0] == CLS and one[-1] == SEP and np.count_nonzero(one == CLS) == 1 for one in found)
    assert sum(map(len, found)) == np.count_nonzero(prepared.train_rows)
    full = documents(ids, "rows")
    np.testing.assert_array_equal(full.ravel(), ids[: full.size])
    assert full.shape[1] == 128 and len(ids) - full.size < 128


def held_out(rows=5, seed=0):
    """Rows of joined documents as the peer masks them, a different number of places in each, and their labels."""
    random = np.random.default_rng(seed)
    shown = random.integers(len(SPECIAL_TOKENS), 32, (rows, 12))
    shown[:, 4:6] = SEP, CLS
    asked = random.random(shown.shape) < np.linspace(0, 0.8, rows)[:, None]
    asked[:, 4:6] = False
    return shown, np.where(asked, random.integers(len(SPECIAL_TOKENS), 32, shown.shape), IGNORED)


def test_the_peers_held_out_loss_is_what_ours_reports(monkeypatch):
    monkeypatch.setattr(masked_lm, "EVALUATION_BATCH", 2)
    shown, labels = held_out()
    backbone, trainer = build_trainer(CONFIG, 1e-3, seed=0)
    table = backbone.get_layer("token_embedding").embeddings
    table.assign(np.random.default_rng(1).normal(size=table.shape))
    found = trainer.evaluate(held_out_batches(shown, labels))
    segments = np.repeat([[1, 2]], [5, 7], axis=1).repeat(len(shown), axis=0)  # a row begins inside a document
    hidden = backbone({"token_ids": shown, "segment_ids": segments}).numpy()
    logits = hidden @ table.numpy().T  # (N, L, V)
    asked = labels != IGNORED
    expected = keras.ops.sparse_categorical_crossentropy(labels[asked], logits[asked], from_logits=True)
    assert found["count"] == asked.sum() > 0
    np.testing.assert_allclose(found["loss"], np.mean(expected), rtol=1e-4)


def test_masked_lm_trains_and_measures():
    rows = np.random.default_rng(0).integers(len(SPECIAL_TOKENS), 32, (40, 12))
    evaluations = masked_lm.train(rows, held_out_batches(*held_out()), CONFIG, minutes=0.02, batch_size=4)
    assert evaluations[-1]["minutes"] >= 0.02 and np.isfinite(evaluations[-1]["loss"])
    assert all(one["tokens"] == one["steps"] * 4 * 12 for one in evaluations)


def test_minutes_to_a_loss():
    evaluations = [{"minutes": 1.0, "loss": 7.0}, {"minutes": 2.0, "loss": 6.0}, {"minutes": 3.0, "loss": 6.5}]
    assert minutes_to(6.5, evaluations) == 2.0 and minutes_to(5.0, evaluations) is None


def test_another_order_of_special_tokens_is_refused(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*SPECIAL_TOKENS, "a", "b"]) + "\n", encoding="utf-8")
    assert check_vocabulary(path) == 7
    path.write_text("\n".join(reversed(SPECIAL_TOKENS)), encoding="utf-8")
    with pytest.raises(ValueError, match=r"must begin with \[PAD\].* Received: \[MASK\]"):
        check_vocabulary(path)


def test_our_tokenizing_counts_all_texts(sentences, monkeypatch):
    texts = [text for text, _ in sentences]
    monkeypatch.setattr(tokenizing, "VOCABULARY_SIZE", 300)
    monkeypatch.setattr(tokenizing, "MEGABYTES", 0.001)
    some = tokenizing.first_megabytes(texts)
    assert sum(len(text.encode()) for text in some[:-1]) < 1000 <= sum(len(text.encode()) for text in some)
    again = tokenizing.first_megabytes(texts[:2])
    assert again == (texts[:2] * len(again))[: len(again)] and sum(len(text.encode()) for text in again) >= 1000
    ours, few = tokenizing.Ours(texts, texts), tokenizing.Ours(texts, texts[:100])
    rest = tokenizing.Ours(texts, texts[100:])
    assert ours.ask(None)["tokens"] == few.ask(None)["tokens"] + rest.ask(None)["tokens"] > 300


def some_results():
    speeds = {side: [{"tokens": tokens, "seconds": 2.0, "waiting": 0.1} for tokens in counts] for side, counts in
              (("ours", (3000, 4000, 2000)), ("adamw", (6000, 2000, 4000)), ("transformers", (2000, 2000, 2000)),
               ("keras_hub", (1000, 1000, 1000)))}
    seconds = {side: [{"tokens": 10, "seconds": value}] * 3 for side, value in
               (("ours", 0.5), ("keras_hub", 1.0), ("tokenizers", 2.0))}
    return {"pretraining_speed": {"machine": {"cpu": "a chip", "cores": 2, "memory_gib": 8.0}, "rows": speeds,
                                  "sentences": speeds},
            "masked_lm": {"peer": {"20": {"evaluations": [{"minutes": 20.0, "tokens": 1, "loss": 6.25}]}},
                          "ours": {"5": {"evaluations": [{"minutes": 2.0, "tokens": 5, "loss": 6.2},
                                                         {"minutes": 5.0, "tokens": 9, "loss": 6.1}]}}},
            "tokenizing": {"sets": {"imdb": {"bytes": 4_000_000, **seconds}}},
            "accelerator": {"device": "a card", "precision": "bfloat16", "runs": [
                {"num_layers": 2, "hidden_dim": 32, "sequence_length": 16, "side": side, "tokens_per_second": speed,
                 "share_of_peak": share} for side, speed, share in (("keras", 2500.0, 0.5), ("torch", 2000.0, 0.4))]},
            "baseline": {"trec": {"fasttext": {"accuracy": [0.8, 0.9]}, "ours": {"accuracy": [0.9, 0.9]}},
                         "sms": {"fasttext": {"accuracy": [0.98]}, "ours": {"accuracy": [0.99]}}},
            "accuracy": {"tasks": {task: [
                {"accuracy": value, "tfidf": {"accuracy": tfidf}, "nbsvm": {"accuracy": nbsvm}} for value in values]
                for task, values, tfidf, nbsvm in (("imdb-500", (0.8, 0.82), 0.75, 0.7), ("imdb-100", (0.77,), 0.65, 0.66),
                                                   ("trec", (0.95,), 0.85, 0.88), ("sst2", (0.85,), 0.8, 0.81))}},
            "recommendation": {"parts": [], "seeds": [
                {"recommender": {"hr": value, "ndcg": value / 2}, "popularity": {"hr": 0.05, "ndcg": 0.03},
                 "item_knn": {"hr": 0.1, "ndcg": 0.06}, "title_knn": {"hr": 0.02, "ndcg": 0.01}}
                for value in (0.15, 0.17)]},
            "decoder_speed": {"answers": {"gpt": {
                "ours": [{"tokens": 30, "seconds": 2.0}] * 3, "transformers": [{"tokens": 10, "seconds": 1.0}] * 3}}},
            "language_models": {"wikitext2": {"machine": {"cpu": "a chip", "cores": 4, "memory_gib": 8.0}, "minutes": 30,
                                              "word_perplexity": 110.6}},
            "poems": {"minutes": 30, "runs": [{"in_form": [True, False]}, {"in_form": [True, True]}]},
            "translation": {"multi30k": {"options": {"minutes": 8}, "runs": [
                {"bleu": value, "chrf": 60.0} for value in (36.0, 38.0)]}},
            "questions": {"squad": {"minutes": [30, 25], "exact_match": 45.06, "f1": 56.0}},
            "summaries": {"headline": {"rouge": {"lead1": [0.2, 0.1, 0.15], "extract": [0.3, 0.1, 0.2],
                                                 "seq2seq": [0.25, 0.05, 0.2]}}}}


def test_the_report_stands_between_the_markers(tmp_path):
    for name, result in some_results().items():
        (tmp_path / f"{name}.json").write_text(json.dumps(result), encoding="utf-8")
    readmes = [tmp_path / name for name in ("README.md", "README.zh.md")]
    for _ in range(2):  # the second time changes nothing
        for readme in readmes:
            readme.write_text(readme.read_text(encoding="utf-8") if readme.exists() else README, encoding="utf-8")
        report.write(tmp_path, readmes)
        written = readmes[0].read_text(encoding="utf-8")
        assert written.startswith("# x\n\n<!-- results -->\n| |") and written.endswith("<!-- /results -->\n\nmore\n")
        for line in ("| pretraining, full rows of 128, tokens/s | 1,500 (× 1.50), AdamW 2,000 (× 2.00) "
                     "| transformers 1,000, KerasHub 500 |",
                     "| held-out masked-LM loss, 5 minutes of ours | 6.100 | transformers 6.250 (20 min) |",
                     "| tokenizing imdb, MB/s | 8.0 (× 2.00) | KerasHub 4.0, tokenizers 2.0 |",
                     "| training under JAX (2 × 32, rows of 16, bfloat16, a card), tokens/s (share of the matrix peak) "
                     "| 2,500 (50%) | transformers (PyTorch) 2,000 (40%) |",
                     "| sst2 test accuracy, all labels | committee 85.0 | TF-IDF + LR 80.0, NB-SVM 81.0 |",
                     "| trec test accuracy, all labels | committee 95.0, baseline 90.0 "
                     "| TF-IDF + LR 85.0, NB-SVM 88.0, fastText 85.0 |",
                     "| sms test accuracy, all labels | baseline 99.0 | fastText 98.0 |",
                     "| imdb test accuracy, 100, 500 labels | committee 77.0, 81.0 ± 1.4 "
                     "| TF-IDF + LR 65.0, 75.0; NB-SVM 66.0, 70.0 |",
                     "| the next film, MovieLens 100k, HR@10 (NDCG@10) among all | .160 ± .014 (.080 ± .007) "
                     "| most popular .050 (.030), item-KNN .100 (.060) |",
                     "| training a GPT, tokens/s | 15 (× 1.50) | transformers 10 |",
                     "| WikiText-2 test, perplexity of a word, 30 minutes | 111 |  |",
                     "| Tang poems in the form asked for, 30 minutes | 75.0% |  |",
                     "| Multi30k, English to German, test 2016, BLEU (chrF), 8 minutes | 37.0 ± 1.4 (60.0 ± 0.0) |  |",
                     "| SQuAD 1.1 dev, exact match (F1), 30 + 25 minutes | 45.1 (56.0) |  |",
                     "| news_summary, headlines, ROUGE-1, -2, -L | `extract` 30.0, 10.0, 20.0; `seq2seq` 25.0, 5.0, 20.0 "
                     "| the first sentence 20.0, 10.0, 15.0 |",
                     "Measured on a chip, 2 cores, 8.0 GiB: `pretraining_speed`.",
                     "Measured on a chip, 4 cores, 8.0 GiB: `language_models`."):
            assert line in written.splitlines(), line
        assert "| 分词 imdb，MB/秒 | 8.0 (× 2.00) |" in readmes[1].read_text(encoding="utf-8")
    assert "old" not in written
    assert "| fromzero | 5 | 0.00 M | 6.100 | 2.0 |" in masked_lm.table(some_results()["masked_lm"]).splitlines()


def test_a_development_split_shares_no_film_with_the_training(tmp_path):
    for name, in_dev in (("imdb", {*range(250), *range(2500, 2750)}), ("trec", {*range(0, 3000, 10)})):
        (tmp_path / name).mkdir()
        with gzip.open(tmp_path / name / "train.jsonl.gz", "wt", encoding="utf-8") as file:
            file.write("".join(json.dumps({"text": n}) + "\n" for n in range(3000)))
        train, dev, _ = split_files(tmp_path / name, tmp_path)
        assert {row["text"] for row in peers.read(dev)} == in_dev
        assert {row["text"] for row in peers.read(train)} == {*range(3000)} - in_dev


def test_movielens_becomes_tables(tmp_path):
    source, to = tmp_path / "movielens", tmp_path / "tables"
    source.mkdir()
    to.mkdir()
    (source / "u.genre").write_text("unknown|0\nFilm-Noir|1\n\n", encoding="latin-1")
    (source / "u.item").write_text("1|Café (1990)|01-Jan-1990||url|0|1\n2|A, B|||url|1|1\n", encoding="latin-1")
    with gzip.open(source / "u.data.gz", "wt") as file:
        file.write("7\t1\t5\t100\n7\t2\t1\t50\n")
    ratings, films, items = recommendation.write_tables(source, to)
    assert Path(ratings).read_text(encoding="utf-8").split() == ["user,item,time", "7,1,100", "7,2,50"]
    films = Path(films).read_text(encoding="utf-8").splitlines()
    assert films[1:] == ["1,Café (1990),Film-Noir", '2,"A, B",unknown Film-Noir']
    assert items == ["1", "2"]
    ratings, _, _ = recommendation.write_tables(source, to, without=["2"])
    assert Path(ratings).read_text(encoding="utf-8").split() == ["user,item,time", "7,1,100"]
    parts = [{"n_users": users, "among_all": {"recommender": {"hr": hr}}} for users, hr in ((10, 0.5), (30, 0.1))]
    assert recommendation.over_parts(parts, "among_all", "recommender", "hr") == pytest.approx(0.2)


def test_a_file_without_markers_is_refused():
    for text in ("no markers", README + README, README.replace("/results", "results")):
        with pytest.raises(ValueError, match="needs one <!-- results --> .* Received"):
            report.put_between_markers(text, "new")


def test_the_readmes_show_the_results_that_are_there():
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(peers.RESULTS.glob("*.json"))}
    for name in report.HEADINGS:
        assert report.table(results, name) in (ROOT / name).read_text(encoding="utf-8"), \
            f"{name}: run python -m benchmarks.report"


def test_figures_of_other_sets_are_kept(tmp_path, monkeypatch, capsys):
    measured = []

    def measure(name, data, work):
        assert work.is_dir()
        measured.append(name)
        return {"figure": len(measured)}

    def ask(*sets):
        monkeypatch.setattr("sys.argv", ["x", *sets, "--data", "d", "--work", str(tmp_path), "--to", str(tmp_path / "x.json")])
        peers.measure_sets("about", ("one", "two"), measure, lambda results: " ".join(results), "x")
        return {name: one["figure"] for name, one in json.loads((tmp_path / "x.json").read_text()).items()}

    assert ask("two") == {"two": 1}
    assert ask("one") == {"one": 2, "two": 1}
    assert ask() == {"one": 3, "two": 4}
    with pytest.raises(SystemExit):
        ask("three")
    assert "of one, two" in capsys.readouterr().err


def test_wikitext_is_read_by_articles():
    lines = ["= One =", "a text", "= = Part = =", "= not a heading", "= Two = ", "b"]
    assert language_models.in_articles(map(str.strip, lines)) == [lines[:4], ["= Two =", "b"]]


def test_pairs_stand_in_one_file_or_in_two(tmp_path):
    for language, text in (("en", "a\nb\n"), ("de", "c\nd\n")):
        with gzip.open(tmp_path / f"val.{language}.gz", "wt", encoding="utf-8") as file:
            file.write(text)
    assert translation.pairs(tmp_path, "val") == [{"en": "a", "de": "c"}, {"en": "b", "de": "d"}]
    with gzip.open(tmp_path / "test.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write('{"en": "a", "zh": "甲"}\n')
    assert translation.pairs(tmp_path, "test") == [{"en": "a", "zh": "甲"}]
