"""The span head: features against sets, spans against all pairs, one vector for each side, padding without effect."""

import keras
import numpy as np
import pytest

from models import bert, heads
from models.config import TransformerConfig
from models.finetuning_optimizers import LayerwiseAdamW, depths
from models.trainer import Budget, Trainer

CONFIG = TransformerConfig(vocabulary_size=32, hidden_dim=8, num_layers=2, num_heads=2, intermediate_dim=16,
                           sequence_length=32)
CLS, SEP = 2, 3
ROWS = np.array([[CLS, 7, 8, 9, SEP, 5, 7, 8, 6, 9, SEP, 0], [CLS, 5, SEP, 6, 6, 5, 5, 6, 7, 8, 9, SEP]], np.int32)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    built = heads.span(bert.backbone(CONFIG), SEP, dropout=0.0)
    for variable in built.trainable_variables:  # what starts at zero would hide a mistake
        variable.assign(variable + np.random.default_rng(1).normal(0, 0.1, variable.shape))
    return built


def inputs(rows):
    return {"token_ids": rows, "segment_ids": np.int32(rows != 0)}


def test_features_say_what_stands_on_both_sides():
    features, in_text = heads.question_features(*inputs(ROWS).values(), SEP)
    for row, found, text in zip(ROWS, np.array(features), np.array(in_text)):
        end = np.argmax(row == SEP)
        question, answer = range(1, end), range(end + 1, np.flatnonzero(row == SEP)[1])
        assert np.flatnonzero(found[:, 0]).tolist() == [*question]
        assert np.flatnonzero(found[:, 1]).tolist() == np.flatnonzero(text).tolist() == [*answer]
        matched, paired = set(), set()
        for i in question:
            for j in answer:
                if row[i] == row[j]:
                    matched |= {i, j}
                    if i + 1 in question and j + 1 in answer and row[i + 1] == row[j + 1]:
                        paired |= {i, i + 1, j, j + 1}
        assert set(np.flatnonzero(found[:, 2])) == matched and set(np.flatnonzero(found[:, 3])) == paired
    assert np.array(features)[0, :, 3].sum() == 4 and np.array(features)[1, :, 3].sum() == 0


def test_only_the_text_and_the_first_token_can_be_an_answer(model):
    logits = np.array(model(inputs(ROWS)))
    assert logits.shape == (2, 2, 12) and model.output.shape == (None, 2, None)
    for row, both in zip(ROWS, logits):
        ends = np.flatnonzero(row == SEP)
        possible = [0, *range(ends[0] + 1, ends[1])]
        assert (np.flatnonzero(both[0] > -1e3) == possible).all() and (np.flatnonzero(both[1] > -1e3) == possible).all()
    assert not np.allclose(logits[:, 0], logits[:, 1])
    padded = np.pad(ROWS, ((0, 0), (0, 5)))
    np.testing.assert_allclose(model(inputs(padded))[:, :, :12], logits, atol=1e-5)
    longer = np.array(heads.question_features(*inputs(padded).values(), SEP)[0])[:, :12]
    np.testing.assert_array_equal(longer, heads.question_features(*inputs(ROWS).values(), SEP)[0])


def test_best_spans_against_all_pairs():
    random = np.random.default_rng(0)
    logits = random.normal(size=(20, 2, 15)).astype(np.float32)
    allowed = random.random((20, 15)) < 0.4
    allowed[3], allowed[:, 0] = False, False
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    for longest in (1, 4, 15):
        found = [np.array(part) for part in heads.best_spans(logits, allowed, longest)]
        for start, end, score, nothing, (first, last), where in zip(*found, log_probabilities, allowed):
            assert nothing == pytest.approx(first[0] + last[0], abs=1e-5)
            pairs = {(i, j): first[i] + last[j] for i in np.flatnonzero(where) for j in np.flatnonzero(where)
                     if 0 <= j - i < longest}
            if pairs:
                assert (start, end) == max(pairs, key=pairs.get) and score == pytest.approx(max(pairs.values()), abs=1e-5)
            else:
                assert score < -1e8


def test_it_learns_where_answers_start_and_end():
    keras.utils.set_random_seed(0)
    model = heads.span(bert.backbone(CONFIG), SEP, dropout=0.0)
    trainer = Trainer(model, LayerwiseAdamW(1e-2, depths(model, CONFIG.num_layers)), 1e-2)
    batch = {**inputs(ROWS), "labels": np.array([[6, 8], [0, 0]], np.int32), "sample_weight": np.ones((2, 2), np.float32)}
    first = trainer.evaluate([batch])
    possible = np.array([6, 9])  # of the rows, [CLS] included
    assert first["loss"] == pytest.approx(np.log(possible).mean(), rel=1e-5) and first["count"] == 4
    trainer.run([batch] * 60, Budget(steps=60), lambda loss, norm: True)
    assert trainer.evaluate([batch])["accuracy"] == 1
    groups = depths(model, CONFIG.num_layers)
    assert {variable.path.split("/")[0] for variable in groups[0]} == {"question_features", "span", "final_norm"}
