"""A recommender learns a cycle by heart, recommends, is ranked and exported, and goes on where it stopped."""

import contextlib
import csv
import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from app.__main__ import main
from app.evaluate import evaluate
from app.export import export
from app.predict import predict
from app.recommend import recommend
from app.recommender import load_recommender
from app.recommender_scores import rankings
from data.histories import encode_titles, training_batches
from models.config import TransformerConfig
from models.ranking import choices, item_neighbours, places, popularity, ranking_metrics
from models.recommender import recommender
from tests.test_models import randomise

COLOURS, THINGS = ("red", "green", "blue", "white"), ("boat", "car", "house")
CYCLE = [f"{colour} {thing}" for thing in THINGS for colour in COLOURS]  # each item is followed by the next one
NEW = "blue ship"
OPTIONS = {"hidden_dim": 32, "num_layers": 1, "batch_size": 8, "learning_rate": 1e-2, "dropout": 0.0,
           "sequence_length": 8}


def write(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return str(path)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """(choices, items): 24 users go round the cycle from all places; numbers stand for items, nobody chose `NEW`."""
    folder = tmp_path_factory.mktemp("tables")
    rows = [("user", "item", "time")]
    for user in range(24):
        steps = [((user + step) % 12, step) for step in range(5 + user % 4)]
        rows += [(f"u{user}", item, 100 * step) for item, step in reversed(steps)]  # time orders them, not the file
    titles = [("item", "title", "genres"), (99, NEW, "toy"), *((n, title, "toy") for n, title in enumerate(CYCLE))]
    return write(folder / "choices.csv", rows), write(folder / "items.csv", titles)


@pytest.fixture(scope="module")
def loaded(run):
    return load_recommender(run)[0]


@pytest.fixture(scope="module")
def run(tables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "toys"
    recommend(data=tables[0], items=tables[1], to=folder, num_epochs=60, **OPTIONS)
    return folder


def test_rankings_against_places_by_hand():
    scores = np.array([[0.9, 0.5, 0.5, 0.1], [3.0, 2.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    excluded = np.array([[False] * 4, [True, False, False, False], [True, False, False, False]])
    higher, equal = places(scores, np.array([1, 2, 3]), excluded)
    np.testing.assert_array_equal(higher, [1, 1, 0])
    np.testing.assert_array_equal(equal, [2, 1, 3])
    found = ranking_metrics(higher, equal, k=2)
    # Second or third with equal chance; second; first, second or third with equal chance.
    assert found["hr"] == pytest.approx((1 / 2 + 1 + 2 / 3) / 3)
    second = 1 / math.log2(3)
    assert found["ndcg"] == pytest.approx((second / 2 + second + (1 + second) / 3) / 3)
    found = ranking_metrics(np.array([9, 10]), np.array([1, 1]))
    assert found == {"hr": 0.5, "ndcg": pytest.approx(0.5 / math.log2(11))}
    with pytest.raises(ValueError, match="finite"):
        places(np.array([[np.nan, 1.0]]), np.array([1]), np.zeros((1, 2), bool))


def test_neighbours_and_popularity_by_hand():
    training = choices([np.array([0, 1]), np.array([0, 1, 2]), np.array([2]), np.array([], np.int32)], 4)
    np.testing.assert_array_equal(popularity(training), [2, 2, 2, 0])
    similar = item_neighbours(training, 3).toarray()
    expected = np.array([[0, 1, 0.5, 0], [1, 0, 0.5, 0], [0.5, 0.5, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(similar, expected)
    scores = choices([np.array([0, 2])], 4) @ item_neighbours(training, 3)
    np.testing.assert_allclose(scores.toarray(), [[0.5, 1.5, 0.5, 0]])
    one = item_neighbours(choices([np.array([0, 1]), np.array([0, 1]), np.array([1, 2])], 3), 1).toarray()
    cosine = 2 / math.sqrt(6)
    np.testing.assert_allclose(one, [[0, cosine, 0], [cosine, 0, 1 / math.sqrt(3)], [0, 0, 0]])  # a column an item


def test_only_items_before_count_and_the_own_last_one_is_ranked():
    histories = [np.array([1, 2, 3]), np.array([3, 4])]
    seen = []

    def scorer(before):
        seen.extend(before)
        return np.tile(np.arange(6.0)[::-1], (len(before), 1))

    found = rankings({"any": scorer}, histories, np.arange(6) > 0)["any"]
    assert [one.tolist() for one in seen] == [[1, 2], [3]]
    assert found["ndcg"] == pytest.approx((1 + 1 / math.log2(4)) / 2)  # 3 of 3, 4, 5; 4 of 1, 2, 4, 5


CONFIG = TransformerConfig(vocabulary_size=9, hidden_dim=16, num_layers=2, num_heads=2, intermediate_dim=32,
                           sequence_length=8)


def test_the_model_sees_what_came_before_and_an_unmet_item_by_its_title():
    model, random = randomise(recommender(CONFIG, num_pieces=20)), np.random.default_rng(0)
    batch = {"item_numbers": np.arange(9, dtype=np.int32), "title_ids": random.integers(1, 20, (9, 3)).astype(np.int32),
             "history": np.array([[0, 3, 5, 8, 2], [0, 4, 4, 0, 0]], np.int32),
             "segment_ids": np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int32)}
    before = model(batch).numpy()
    assert before.shape == (2, 5, 9) and before.dtype == np.float32

    def difference(**changes):
        return np.abs(model({**batch, **changes}).numpy() - before)

    other = batch["history"].copy()
    other[0, 3] = 1
    changed = difference(history=other)
    assert changed[0, :3].max() < 1e-5 < 1e-3 < changed[0, 3:].max(axis=1).min() and changed[1].max() < 1e-5
    other = batch["history"].copy()
    other[1, 3:] = 7  # padding
    assert difference(history=other)[1, :3].max() < 1e-5
    numbers = np.where(np.arange(9) == 6, 0, batch["item_numbers"])  # an item outside the histories hides its number
    changed = difference(item_numbers=numbers)
    assert changed[..., 6].min() > 1e-4 and np.delete(changed, 6, axis=2).max() < 1e-5
    alike = batch["title_ids"].copy()
    alike[6] = alike[7]
    vectors = model.get_layer("items")({"item_numbers": np.int32([0, 0]), "title_ids": alike[6:8]}).numpy()
    np.testing.assert_allclose(vectors[0], vectors[1])
    short = np.pad(batch["title_ids"], ((0, 0), (0, 2)))
    assert difference(title_ids=short).max() < 1e-5


def test_the_model_builds_and_trains_with_keras_alone():
    keras.utils.set_random_seed(0)
    model = recommender(CONFIG, num_pieces=20)
    histories = [np.int32([1 + (start + step) % 8 for step in range(8)]) for start in range(8)]
    batches = training_batches(histories, np.arange(9, dtype=np.int32)[:, None], batch_size=8, length=8,
                               unknown_share=0.0, seed=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-2), loss, jit_compile=False)
    losses = []
    for _, batch in zip(range(100), batches):
        inputs = {name: batch[name] for name in model.input}
        losses.append(float(model.train_on_batch(inputs, batch["labels"], batch["sample_weight"])))
    assert losses[0] == pytest.approx(math.log(9), abs=0.3)
    assert losses[-1] < 0.4  # ln 8 / 8 = 0.26: the first item is anyone's guess


def test_it_recommends_what_comes_next(run, capsys):
    history = ["green boat", "blue boat", "white boat"]
    found = predict(run, history)
    assert found[0]["title"] == "red car" and found[0]["score"] > 0.5 and len(found) == 10
    assert not {*history} & {one["title"] for one in found}
    assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)
    assert capsys.readouterr().out.splitlines()[0] == f"{found[0]['score']:.4f}\tred car"


def test_histories_of_all_kinds(loaded):
    written, rest, everything, nothing, unheard = loaded.best(
        [[" Green  BOAT ", "blue boat", "white<br>boat", ""], CYCLE[:4], [*CYCLE, NEW], [], ["never heard of", "🦄"]])
    assert written[0][0] == "red car" and everything == []
    assert {title for title, _ in rest} == {*CYCLE[4:], NEW}
    assert sum(score for _, score in rest) == pytest.approx(1, abs=1e-4)
    assert len({*nothing}) == len({*unheard}) == 10 and nothing != unheard


def test_an_unmet_item_is_known_by_its_title(loaded):
    assert loaded.catalogue.titles[loaded.catalogue.num_known :] == [NEW]
    title_ids = encode_titles(loaded.tokenizer, tf.constant([f"{NEW} toy"]), 32)
    by_title = loaded.model.get_layer("items")({"item_numbers": tf.constant([0]), "title_ids": title_ids})
    np.testing.assert_allclose(loaded.vectors[-1:], by_title, atol=1e-6)


def test_rows_and_titles_give_the_same(loaded):
    rows = loaded.catalogue.rows([["3", "4"], ["7"], [*map(str, range(10))]])
    logits = loaded.scores(rows)
    titles = [[loaded.catalogue.titles[number] for number in row] for row in rows]
    for row, (best, *_), logit in zip(rows, loaded.best(titles), logits, strict=True):
        logit[[0, *row]] = -np.inf
        assert loaded.catalogue.titles[logit.argmax()] == best[0]
        assert best[1] == pytest.approx(float(np.exp(logit.max() - np.logaddexp.reduce(logit))), rel=1e-4)


def test_evaluate_ranks_the_last_item(run, tables, tmp_path):
    found = evaluate(run, data=tables[0], items=tables[1])
    assert found["n_users"] == 24 and found["n_items"] == 13 and found["unseen"] is None and found["too_short"] == 0
    assert found["recommender"]["ndcg"] > 0.9 > 0.7 > found["popularity"]["ndcg"]
    assert found["recommender"]["hr"] == 1 and set(found) >= {"item_knn", "title_knn"}
    (report,) = run.glob("evaluation-choices-*.json")
    assert json.loads(report.read_text(encoding="utf-8")) == found
    other = write(tmp_path / "other.csv", [("user", "item"), *(("a", number) for number in (1, 2, 3)),
                                           *(("b", number) for number in (2, 3, 99)), ("c", 1)])
    found = evaluate(run, data=other, items=tables[1])
    assert found["unseen"]["n_users"] == found["unseen"]["n_items"] == 1 and found["too_short"] == 1
    for name in ("recommender", "popularity", "item_knn", "title_knn"):
        assert found["unseen"]["among_unseen"][name] == {"hr": 1, "ndcg": 1}  # the only one
    # Item 1 was chosen, 2 and 3 are left out: the second to eleventh place, all as likely.
    chance = sum(1 / math.log2(1 + place) for place in range(2, 11)) / 10
    assert found["unseen"]["among_all"]["popularity"] == {"hr": pytest.approx(0.9), "ndcg": pytest.approx(chance)}


def test_a_file_gets_ten_rows_a_user(run, tables, tmp_path):
    data = write(tmp_path / "new.csv", [("user", "item", "title"), ("ann", "1", ""), ("ann", "2", ""), ("ann", "3", ""),
                                        ("bob", "unheard", "blue ship"), ("bob", "7", "")])
    counts = predict(run, data=data, to=tmp_path / "out.csv")
    with open(tmp_path / "out.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert counts["rows"] == len(rows) == 20 and list(rows[0]) == ["user", "place", "item", "title", "score"]
    assert [*rows[0].values()][:4] == ["ann", "1", "4", "red car"]
    bob = [row for row in rows if row["user"] == "bob"]
    assert bob[0]["title"] == "red house" and NEW not in [row["title"] for row in bob]


def test_an_export_recommends_what_the_run_recommends(run, loaded, tmp_path):
    operations = export(run, to=tmp_path / "1")
    assert not any(name.startswith("Xla") for name in operations)
    signature = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    histories = [["green boat", "blue boat", "white boat"], ["", "", ""], ["unknown", "", "red car"]]
    answer = signature(history=tf.constant(histories))
    assert answer["titles"].shape == answer["scores"].shape == (3, 10) and answer["scores"].dtype == tf.float32
    for titles, scores, best in zip(answer["titles"].numpy(), answer["scores"].numpy(), loaded.best(histories)):
        assert [title.decode() for title in titles] == [title for title, _ in best]
        np.testing.assert_allclose(scores, [score for _, score in best], atol=1e-6)
    assert signature(history=tf.zeros([0, 2], tf.string))["titles"].shape == (0, 10)
    assert signature(history=tf.zeros([2, 0], tf.string))["titles"].shape == (2, 10)
    assert export(run, to=tmp_path / "2", int8=True)  # verified inside against the rounded run
    sizes = [(tmp_path / name / "variables" / "variables.data-00000-of-00001").stat().st_size for name in "12"]
    assert sizes[1] < 0.5 * sizes[0]


def test_a_stopped_training_goes_on_and_ends_the_same(tables, tmp_path, monkeypatch):
    options = {**OPTIONS, "data": tables[0], "items": tables[1], "num_epochs": 1, "dropout": 0.2}  # 3 steps
    whole = recommend(to=tmp_path / "whole", **options)
    calls = iter(range(100))

    @contextlib.contextmanager
    def stops_soon():
        yield lambda: next(calls) > 1

    with monkeypatch.context() as patch:
        patch.setattr("app.training.stop_signals", stops_soon)
        with pytest.raises(KeyboardInterrupt, match="Saved at step"):
            recommend(to=tmp_path / "stopped", **options)
    resumed = recommend(to=tmp_path / "stopped", **options)
    assert resumed["validation_loss"] == pytest.approx(whole["validation_loss"], rel=1e-6)
    first, second = (load_recommender(tmp_path / name)[0].model.get_weights() for name in ("whole", "stopped"))
    for one, other in zip(first, second):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_one_user_without_titles_is_enough(tmp_path, capsys):
    data = write(tmp_path / "one.csv", [("user", "item"), *(("a", item) for item in "xyzw")])
    recommend(data=data, to=tmp_path / "run", num_epochs=1, **OPTIONS)
    assert "4 of 4 items have no title" in capsys.readouterr().out
    assert {one["title"] for one in predict(tmp_path / "run", ("x",))} == {*"yzw"}


def test_mistakes_are_one_line(run, tables, tmp_path, capsys):
    one_item = write(tmp_path / "one.csv", [("user", "item"), ("a", "1"), ("b", "1"), ("b", "1")])
    text = write(tmp_path / "text.csv", [("text",), ("a",)])
    training = ["recommend", "--data", tables[0], "--to", tmp_path / "run"]
    for arguments, rule in (([*training, "--item-column", "film"], "must be a column film for the item"),
                            ([*training, "--title-column", "titel"], "must be a column titel for the title"),
                            ([*training, "--dropout", "1"], "dropout must be in [0, 1)"),
                            ([*training, "--unknown-share", "1"], "--unknown-share must be in [0, 1)"),
                            ([*training, "--num-epochs", "1", "--minutes", "1"], "either --num-epochs or --minutes"),
                            (["recommend", "--data", one_item, "--to", tmp_path / "run"], "2 users, all with fewer"),
                            (["recommend", "--data", text, "--to", tmp_path / "run"], "the user column must be found"),
                            (["predict", run, "a", "--text-column", "b"], "--text-column is for a classifier or"),
                            (["evaluate", run, "--data", text], "the user column must be found"),
                            (["export", run, "--to", tmp_path / "export", "--tokens", "5"], "--tokens is for a GPT"),
                            ([*training[:-1], run], "holds a finished training")):
        assert main([*map(str, arguments)]) == 2, arguments
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and rule in error, error
    assert not (tmp_path / "run").exists() and not (tmp_path / "export").exists()
