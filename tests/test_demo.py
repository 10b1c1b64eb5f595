"""The whole chain in small: every model trained, measured and exported, and the second call goes on where it stopped."""

import shutil

import numpy as np
import pytest

import app.demo
import app.finetune
import app.pretrain
from app.demo import demo
from data import samples


@pytest.fixture
def small(monkeypatch, once):
    """One task, 300 of its rows, few labels and few steps; the real samples otherwise."""
    rows = samples._rows
    monkeypatch.setattr(samples, "_rows", lambda name, paths: rows(name, paths)[::200])
    monkeypatch.setattr(app.demo, "TASKS", {"sentiment": ("reviews-en", "reviews-zh")})
    monkeypatch.setattr(app.demo, "FEW_LABELS", 20)
    monkeypatch.setattr(app.demo, "MINIMUM_STEPS", 4)


def test_the_chain_and_going_on(small, tmp_path, monkeypatch, capsys):
    found = demo(to=tmp_path / "demo", pretrain_minutes=0.02)
    models = "baseline", "scratch", "pretrained"
    assert set(found["results"]["sentiment"]) == {(model, few) for model in models for few in (None, 20)}
    for metrics in found["results"]["sentiment"].values():
        assert 0 <= metrics["intervals"]["accuracy"][0] <= metrics["accuracy"] <= metrics["intervals"]["accuracy"][1] <= 1
    assert 0 < found["probability"] < 1
    screen = capsys.readouterr().out
    for text in ("from scratch", "20 labels", "「这是一个很好的产品」 is positive with probability", "tf.saved_model.load",
                 str(found["exports"]["sentiment"])):
        assert text in screen
    # One classifier is missing: it alone is trained again, with the result it had.
    shutil.rmtree(tmp_path / "demo" / "runs" / "sentiment-scratch-20")
    monkeypatch.setattr(app.pretrain, "pretrain", pytest.fail)
    trained, finetune = [], app.finetune.finetune
    monkeypatch.setattr(app.finetune, "finetune", lambda **options: trained.append(options["to"].name) or finetune(**options))
    again = demo(to=tmp_path / "demo", pretrain_minutes=0.02)
    assert trained == ["sentiment-scratch-20"] and again["probability"] == found["probability"]
    for model, metrics in found["results"]["sentiment"].items():
        np.testing.assert_allclose(again["results"]["sentiment"][model]["accuracy"], metrics["accuracy"])


def test_a_folder_of_something_else_is_refused(small, tmp_path):
    (tmp_path / "other").write_text("kept")
    with pytest.raises(ValueError, match="--to must be a new folder. Received: .* which holds other files"):
        demo(to=tmp_path)
    assert (tmp_path / "other").read_text() == "kept" and len(list(tmp_path.iterdir())) == 1


def test_an_impossible_option_claims_no_folder(small, tmp_path):
    with pytest.raises(ValueError, match="--pretrain-minutes must be at least"):
        demo(to=tmp_path / "demo", pretrain_minutes=0.0)
    assert not (tmp_path / "demo").exists()


def test_other_options_are_refused(small, tmp_path):
    app.demo._claim(tmp_path / "demo", {"pretrain_minutes": 1.0})
    with pytest.raises(ValueError, match="holds a demo with other options: choose another --to"):
        demo(to=tmp_path / "demo", pretrain_minutes=2.0)
