"""Tables of what people chose: order, titles, what is skipped; a catalogue; batches as a function of seed and step."""

import json

import numpy as np
import pytest
import tensorflow as tf

from data.histories import Catalogue, build_catalogue, encode_titles, held_out_batches, training_batches
from data.interactions import Interactions, long_enough, read_interactions
from data.sources import SkippedRows
from tests.test_recommendation import write


def test_choices_are_read_in_order_of_time(tmp_path):
    first = write(tmp_path / "a.csv", [
        ("userId", "movieId", "timestamp", "name"), ("b", "3", "20", "Three"), ("a", "1", "5", "One"),
        ("a", "2", "5", "nan"), ("a", "4", "-1e3", "Four"), ("a", "1", "6", "Uno"), ("", "1", "6", ""),
        ("a", "NaN", "6", ""), ("a", "9", "soon", ""), ("a", "8", "nan", "")])
    second = tmp_path / "b.jsonl"
    second.write_text("".join(json.dumps(row) + "\n" for row in (
        {"user": "b", "item": 5, "date": "1970-01-01T00:00:10"},
        {"user": "b", "item": 6, "date": "1970-01-01T01:00:15+01:00"},
        {"user": None, "item": 6, "date": "1970-01-01"})), encoding="utf-8")
    skipped = SkippedRows()
    found = read_interactions([first, str(second)], skipped)
    assert dict(zip(found.users, found.histories)) == {"b": ["5", "6", "3"], "a": ["4", "1", "2"]}
    assert found.repeated == 1 and found.titles == {"1": ("One", "One"), "3": ("Three", "Three"), "4": ("Four", "Four")}
    assert sorted(skipped.counts.values()) == [1, 2, 2] and skipped.counts["no user"] == 2
    kept, short = long_enough(found)
    assert kept.users == ["b", "a"] and short == 0


def test_titles_come_from_their_own_table(tmp_path):
    data = write(tmp_path / "data.csv", [("who", "item"), ("a", "x"), ("a", "y"), ("b", "x")])
    items = write(tmp_path / "items.csv", [
        ("item", "label", "genres"), ("x", "Ex", "Drama"), ("z", "Zed", ""), ("", "no", "")])
    skipped = SkippedRows()
    found = read_interactions([data], skipped, items=[items], columns={"user": "who", "title": "label", "time": None})
    assert found.titles == {"x": ("Ex", "Ex Drama"), "z": ("Zed", "Zed")} and found.histories == [["x", "y"], ["x"]]
    assert skipped.counts == {"no item": 1}
    with pytest.raises(ValueError, match="a column born for the time. Received: none of that name in .*data.*items"):
        read_interactions([data], skipped, items=[items], columns={"user": "who", "title": "label", "time": "born"})
    with pytest.raises(ValueError, match="data.csv.*the user column must be found by its name"):
        read_interactions([data], skipped)
    with pytest.raises(ValueError, match="3 different items.* Received: 2 users, all with fewer"):
        long_enough(found)


def test_a_catalogue_numbers_what_training_met_first():
    interactions = Interactions([*"ab"], [["p", "q", "r", "s"], ["q", "t", "u"]],
                                {"v": ("Vee", "Vee old"), "q": ("Q", "Q x")}, 0)
    catalogue = build_catalogue(interactions, [["p", "q"], ["q"]])
    assert catalogue.items == ["", "q", "p", "v", "r", "s", "t", "u"] and catalogue.num_known == 3
    assert catalogue.titles[1:4] == ["Q", "p", "Vee"] and catalogue.texts[1:4] == ["Q x", "p", "Vee old"]
    np.testing.assert_array_equal(catalogue.numbers, [0, 1, 2, 0, 0, 0, 0, 0])
    more = catalogue.extended(Interactions(["c"], [["w", "p"]], {}, 0))
    assert more.items == [*catalogue.items, "w"] and more.num_known == 3 and more.row_of["w"] == 8
    np.testing.assert_array_equal(more.rows([["w", "p"]])[0], [8, 2])


def test_batches_are_a_function_of_seed_and_step():
    random = np.random.default_rng(0)
    histories = [random.permutation(np.arange(1, 40))[: 1 + user % 9].astype(np.int32) for user in range(21)]
    title_ids = np.arange(80, dtype=np.int32).reshape(40, 2)
    options = {"batch_size": 4, "length": 6, "unknown_share": 0.5, "seed": 3}
    batches = [batch for batch, _ in zip(training_batches(histories, title_ids, **options), range(18))]
    for step in (2, 6, 13):
        again = next(training_batches(histories, title_ids, step=step, **options))
        for name, values in batches[step].items():
            np.testing.assert_array_equal(again[name], values)
    for epoch in (batches[:6], batches[6:12]):  # every user once, of a long history a stretch
        rows = sorted(tuple(row[row > 0]) for batch in epoch for row in batch["labels"])
        assert len(rows) == 21 and sum(map(len, rows)) == sum(min(6, len(history)) for history in histories)
        for row in rows:
            assert any(row == tuple(history[start : start + len(row)]) for history in histories for start in range(4))
    for batch in batches:
        assert (batch["history"][:, 0] == 0).all() and batch["history"].dtype == batch["item_numbers"].dtype == np.int32
        np.testing.assert_array_equal(batch["history"][:, 1:], batch["labels"][:, :-1])
        np.testing.assert_array_equal(batch["segment_ids"], batch["labels"] > 0)
        np.testing.assert_array_equal(batch["sample_weight"], batch["labels"] > 0)
        hidden = batch["item_numbers"] == 0
        np.testing.assert_array_equal(batch["item_numbers"][~hidden], np.flatnonzero(~hidden))
    assert 0.4 < np.mean([batch["item_numbers"][1:] == 0 for batch in batches]) < 0.6
    catalogue = Catalogue([*map(str, range(40))], [""] * 40, [""] * 40, 30)
    batches = held_out_batches(histories, catalogue, title_ids, batch_size=4, length=6)
    found = [row[weight > 0].tolist() for batch in batches
             for row, weight in zip(batch["labels"], batch["sample_weight"])]
    assert sorted(found) == sorted([history[-1]] for history in histories)


def test_titles_are_encoded_to_a_length(tokenizer):
    found = encode_titles(tokenizer, tf.constant(["", "the film", "the film " * 9]), 4).numpy()
    assert found.shape == (3, 4) and not found[0].any() and found[2].all()
    assert encode_titles(tokenizer, tf.constant([""]), 4).shape == (1, 1)
