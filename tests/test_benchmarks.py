"""The benchmarks without their peers: what is counted, what is asked of the peers, what the report writes."""

import asyncio
import contextlib
import gzip
import json
import os
import re
import socket
import sys
import threading
from pathlib import Path

import keras
import numpy as np
import psutil
import pytest
from tokenizers import BertWordPieceTokenizer

from app.objectives import build_trainer
from benchmarks import (language_models, masked_lm, peers, pretraining_speed, recommendation, report, serving,
                        serving_models, tokenizing, translation)
from benchmarks.baseline import split_files
from benchmarks.masked_lm import IGNORED, check_vocabulary, held_out_batches, minutes_to
from benchmarks.pretraining_speed import Ours, prepare_text, sentences
from benchmarks.pretraining_speed_peer import documents
from benchmarks.serving_load import Clients, latencies, served, watched
from data.order import row_numbers
from data.prepared import load_prepared
from data.tokenizer import CLS, SEP, SPECIAL_TOKENS
from models import heads, hub
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


@contextlib.contextmanager
def answering(status_of):
    """A server's address and the list of what it is asked; it answers with status_of(number), 0 = hangs up."""
    asked = []

    async def answer(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                body = await reader.readexactly(int(re.search(rb"Content-Length: (\d+)", head)[1]))
                asked.append((head.split()[1].decode(), json.loads(body)["instances"]))
                if not (status := status_of(len(asked) - 1)):
                    break
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 4\r\n\r\n" % status)
                await asyncio.sleep(0.001)  # the body in a piece of its own
                writer.write(b"null")
        writer.close()

    async def start():
        return await asyncio.start_server(answer, "127.0.0.1", 0)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield server.sockets[0].getsockname(), asked
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def test_clients_ask_all_texts_again_and_again_and_notice_what_comes():
    statuses = [200, 503, 0, 200]
    with answering(lambda number: statuses[number % 4]) as (address, asked):
        answers = Clients(address, "m", ["a", "b", "ü"], each=2).without_pause(1, 0.3)
        assert asked[:3] == [("/v1/models/m:predict", texts) for texts in (["a", "b"], ["ü"], ["a", "b"])]
        assert [answer.status for answer in answers] == (statuses * len(answers))[: len(answers)] and len(answers) > 8
        assert all(0.001 < one.seconds and one.due < 0.3 for one in answers if one.status)
        assert len(Clients(address, "m", ["a"]).without_pause(5, 0.1)) > 5


def test_clients_ask_at_random_times_whatever_is_answered():
    with answering(lambda number: 200) as (address, asked):
        rounds = [Clients(address, "m", ["a"]).at_rate(200, 0.5, seed) for seed in (1, 1, 2)]
    due = [sorted(answer.due for answer in answers) for answers in rounds]
    assert due[0] == due[1] != due[2] and 60 < len(due[0]) < 150 and len(asked) == sum(map(len, due))
    gaps = np.diff(due[0])
    assert 0.5 < np.std(gaps) / np.mean(gaps) < 1.5  # of an exponential distribution 1
    assert latencies([1.0, 2.0, 3.0]) == [2.0, pytest.approx(2.98)] and latencies([]) == [None, None]


def test_where_no_connection_opens_the_answer_has_failed():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        clients = Clients(listener.getsockname(), "m", ["a"])
    assert {answer.status for answer in clients.without_pause(2, 0.3)} == {0}
    answers = clients.at_rate(50, 0.5)
    assert len(answers) > 5 and {answer.status for answer in answers} == {0}


def test_our_side_asks_a_server_of_its_own(exported):
    with served([exported[0].parent]) as (address, process), watched(psutil.Process(process.pid)) as memory:
        ours = serving.Ours(address, {"16": ["a text", "这部电影非常好"] * 20}, "sentiment", 32)
        for what in ("one", "full"):
            answer = ours.ask({"what": what, "length": "16", "seconds": 0.6})
            assert answer["failed"] == 0 < answer["client_seconds"] < answer["seconds"] and answer["texts"] % 32 == 0
        found = serving.at_rate(ours.clients["16"], 20, 0.5)["answers"]
        assert set(found) == {"200"} and found["200"]["count"] > 3
    assert process.returncode == 0 and memory and min(memory) > 2**20
    with pytest.raises(RuntimeError, match="an export is a folder of SavedModels"), served([exported[0] / "nothing"]):
        pass


def test_the_weights_of_a_bert_are_named_and_turned_as_transformers_has_them():
    config = hub.HubConfig("BertBackbone", 9, 8, 8, 1, 2, 12, 16, 2, SEP, 0.0)
    model = heads.classifier(hub.backbone(config), 3)
    found, block = serving_models.weights(model), model.get_layer("backbone").get_layer("transformer_layer_0").layer
    layer = "bert.encoder.layer.0"
    assert set(found) == {f"{name}.{kind}" for kind in ("weight", "bias") for name in (
        "bert.embeddings.LayerNorm", *(f"{layer}.attention.self.{part}" for part in ("query", "key", "value")),
        *(f"{layer}.{part}" for part in ("attention.output.dense", "attention.output.LayerNorm", "intermediate.dense",
                                         "output.dense", "output.LayerNorm")), "classifier")} | {
        f"bert.embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type")}
    x, attention = np.random.default_rng(0).normal(size=(1, 5, 8)).astype(np.float32), block._self_attention_layer
    np.testing.assert_allclose(x @ found[f"{layer}.attention.self.key.weight"].T,
                               keras.ops.reshape(attention.key_dense(x), (1, 5, 8)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(x @ found[f"{layer}.attention.output.dense.weight"].T,
                               attention.output_dense(x.reshape(1, 5, 2, 4)), rtol=1e-5, atol=1e-6)
    assert found[f"{layer}.intermediate.dense.weight"].shape == (12, 8) and found["classifier.weight"].shape == (3, 8)


def test_texts_are_cut_to_so_many_tokens(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, "a", "##b", "c", "##d"]), encoding="utf-8")
    wordpiece = BertWordPieceTokenizer(str(tmp_path / "vocab.txt"))
    texts = ["a ab c d", "ab ab ab", "a", "A  x\nc"]  # "d" alone is [UNK]
    assert serving_models.of_length(texts, wordpiece, 5) == ["a ab", "ab a", "A  x\nc"]
    assert serving_models.of_length(texts, wordpiece, 8) == ["ab ab ab"]


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
            "serving": serving_results(),
            "language_models": {"wikitext2": {"machine": {"cpu": "a chip", "cores": 4, "memory_gib": 8.0}, "minutes": 30,
                                              "word_perplexity": 110.6}},
            "poems": {"minutes": 30, "runs": [{"in_form": [True, False]}, {"in_form": [True, True]}]},
            "translation": {"multi30k": {"options": {"minutes": 8}, "runs": [
                {"bleu": value, "chrf": 60.0} for value in (36.0, 38.0)]}},
            "questions": {"squad": {"minutes": [30, 25], "exact_match": 45.06, "f1": 56.0}},
            "summaries": {"headline": {"rouge": {"lead1": [0.2, 0.1, 0.15], "extract": [0.3, 0.1, 0.2],
                                                 "seq2seq": [0.25, 0.05, 0.2]}}}}


def serving_results():
    answers = {side: [{"texts": texts, "seconds": 2.0, "failed": 0, "latencies": [0.004, 0.008], "client_seconds": 0.1}] * 3
               for side, texts in (("ours", 900), ("ours_32", 1200), ("encoder", 1300), ("encoder_32", 1400),
                                   ("fp32", 1000), ("int8", 1600), ("transformers", 500))}
    load = {"0.5": {"rate": 225, "seconds": 9.0, "answers": {"200": {"count": 9, "latencies": [0.005, 0.0125]},
                                                             "0": {"count": 1, "latencies": [1.0, 1.0]}}},
            "2": {"rate": 900, "seconds": 2.0, "answers": {"200": {"count": 855, "latencies": [0.5, 0.6]},
                                                           "503": {"count": 945, "latencies": [0.001, 0.002]}}}}
    return {"differences": {"fp32": {"largest": 1e-6, "labels": 0.0}}, "lengths": {"64": {"one": answers, "full": answers}},
            "load": {"64": load}, "long": {"minutes": 10, "answers": {"200": 7000, "503": 2},
                                           "memory": [50, 100, *range(100, 112), *[104] * 6]}}


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
                     "| `serve` over HTTP, 64 tokens a text, 32 texts a request / 1, texts/s | 600 (× 1.20) / 450 (× 0.90) "
                     "| ONNX Runtime 500, ONNX Runtime int8 800, transformers 250 |",
                     "| one text of 64 tokens after another, ms, p50 (p99) | 4.0 (8.0) "
                     "| ONNX Runtime 4.0 (8.0), ONNX Runtime int8 4.0 (8.0), transformers 4.0 (8.0) |",
                     "| `serve`, 64 tokens: p99 / p50 at half of full load; good answers at twice the load | 2.5; 95% |  |",
                     "| `serve`, 10 minutes of full load: requests, failed ones, growth of its memory | 7,002, 3, 11.0% |  |",
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
    for line in ("| fromzero, 32 texts a request | 600 (× 1.20) |", "| twice the load: 503, and 99 % of those within "
                 "| 52.5%, 2 ms |", "| share of the cores that the clients take at full load | {:.1%} |".format(0.05 / os.cpu_count())):
        assert line in serving.table(serving_results()).splitlines(), line
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
