"""KerasHub's presets, tiny ones: the same ids and vectors as KerasHub's, then fine-tuning as from our own backbones."""

import functools
import json
import shutil
import sys

import numpy as np
import pytest
import tensorflow as tf

from app.classifier import build_classifier, describe_committee, describe_model
from app.evaluate import evaluate
from app.export import export
from app.finetune import finetune
from app.hub import take_over
from app.predict import predict
from data.batching import encode_examples
from models import heads, hub
from models.finetuning_optimizers import LayerwiseAdamW, depths
from models.run_folder import load_config
from models.trainer import Trainer
from tests.conftest import ENDS, OPINIONS, SUBJECTS
from tests.test_finetune import one_line

WORDS = sorted(set(" ".join([SUBJECTS, ENDS, *OPINIONS.values()]).replace("|", " ").split()))
CHARACTERS = sorted({character for word in WORDS for character in word})
VOCABULARY = list(dict.fromkeys(
    ["[PAD]", "[unused0]", "[UNK]", "[CLS]", *filter(str.isascii, WORDS), "[SEP]", *CHARACTERS, "[MASK]",
     *(f"##{character}" for character in CHARACTERS)]))
SIZE = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16, "max_sequence_length": 24}
FAMILIES = {"Bert": {"vocabulary_size": len(VOCABULARY)},
            "DistilBert": {"vocabulary_size": len(VOCABULARY)},
            "Electra": {"vocab_size": len(VOCABULARY) + 3, "embedding_dim": 6}}  # 3 rows of no token
QUICK = {"sequence_length": 32, "num_epochs": 1, "minimum_steps": 4, "batch_size": 32}
TEXTS = ("the film was wonderful today", "这部电影 非常好", "my phone broke", "")


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def presets(tmp_path_factory):
    """The folder of a preset for each family."""
    models, folder = hub.import_keras_hub().models, tmp_path_factory.mktemp("presets")
    random = np.random.default_rng(0)
    for name, more in FAMILIES.items():
        backbone = getattr(models, f"{name}Backbone")(**SIZE, **more)
        backbone.set_weights([random.normal(size=weight.shape) for weight in backbone.get_weights()])
        backbone.save_to_preset(folder / name)
        tokenizer = getattr(models, f"{name}Tokenizer")(vocabulary=VOCABULARY, lowercase=True)
        tokenizer.save_to_preset(folder / name)
    return folder


@pytest.fixture(scope="module")
def preset(presets, family):
    return presets / family


@pytest.fixture(scope="module")
def taken_over(preset):
    return take_over(f"hub:{preset}")


@functools.cache
def keras_hubs_own(preset):
    models = hub.import_keras_hub().models
    return models.Tokenizer.from_preset(str(preset)), models.Backbone.from_preset(str(preset))


def keras_hub_vectors(preset, first, second=None):
    """What KerasHub itself makes of a text or a pair: float (L, D)."""
    tokenizer, backbone = keras_hubs_own(preset)
    ids = [tokenizer.cls_token_id, *tokenizer.tokenize([first])[0], tokenizer.sep_token_id]
    types = [0] * len(ids)
    if second is not None:
        ids += [*tokenizer.tokenize([second])[0], tokenizer.sep_token_id]
        types += [1] * (len(ids) - len(types))
    batch = {"token_ids": [ids], "segment_ids": [types], "padding_mask": [[1] * len(ids)]}
    output = backbone({name: tf.constant(batch[name]) for name in backbone.input})
    return (output["sequence_output"] if isinstance(output, dict) else output)[0].numpy()


def test_vectors_equal_keras_hubs(taken_over, preset):
    tokenizer, _, encoder = taken_over
    vectors = encoder(encode_examples(tokenizer, tf.constant(TEXTS), None, 24, 24)).numpy()
    for text, found in zip(TEXTS, vectors):
        expected = keras_hub_vectors(preset, text)
        np.testing.assert_allclose(found[: len(expected)], expected, atol=1e-5, err_msg=text)
    assert np.abs(vectors[0, 1:3] - vectors[1, 1:3]).max() > 1e-2  # the test can fail


def test_vectors_of_pairs_equal_keras_hubs(taken_over, preset):
    tokenizer, _, encoder = taken_over
    pairs = TEXTS[::-1]
    vectors = encoder(encode_examples(tokenizer, tf.constant(TEXTS), tf.constant(pairs), 24, 24)).numpy()
    for number, pair in enumerate(zip(TEXTS, pairs)):
        expected = keras_hub_vectors(preset, *pair)
        np.testing.assert_allclose(vectors[number, : len(expected)], expected, atol=1e-5, err_msg=str(pair))


def test_segments_of_a_row_do_not_see_each_other(taken_over, preset):
    tokenizer, _, encoder = taken_over
    words = "the film was wonderful my new phone broke at once this hotel is great fun again and again her song".split()
    row = encode_examples(tokenizer, tf.constant([" ".join(words)]), None, 64, 8)  # 20 words in segments of 6
    assert row["segment_ids"].numpy().max() == 4
    expected = [keras_hub_vectors(preset, " ".join(words[start : start + 6])) for start in range(0, len(words), 6)]
    np.testing.assert_allclose(encoder(row)[0], np.concatenate(expected), atol=1e-5)


def test_a_run_needs_no_preset(presets, labelled_csv, tmp_path, once):
    preset = shutil.copytree(presets / "DistilBert", tmp_path / "preset")
    finetune(data=(str(labelled_csv),), to=tmp_path / "run", task="sentiment", backbone=f"hub:{preset}", **QUICK)
    shutil.rmtree(preset)
    config = load_config(tmp_path / "run", "classifier")
    assert config["family"] == "hub" and config["backbone"] == f"hub:{preset}" and config["model"]["num_layers"] == 2
    assert (config["sequence_length"], config["segment_length"]) == (32, 24)
    assert config["learning_rate"] == pytest.approx(0.04 / 8)  # falls with the width
    results = predict(tmp_path / "run", TEXTS[:3])
    np.testing.assert_allclose([sum(result["probabilities"].values()) for result in results], 1, atol=1e-6)
    assert len({result["probabilities"]["positive"] for result in results}) == 3
    evaluate(tmp_path / "run", data=(str(labelled_csv),), report=tmp_path / "report", bootstrap_samples=20)
    assert (tmp_path / "report.json").exists()
    assert "tensorflow_text" not in sys.modules  # which keras_hub would have imported, were it there


def test_pairs_start_from_the_presets_weights_and_are_exported(presets, tmp_path, monkeypatch, once):
    starts = []

    def run(self, *arguments, original=Trainer.run):
        starts.append(self.model.get_layer("backbone").get_weights())
        original(self, *arguments)

    monkeypatch.setattr(Trainer, "run", run)
    rows = [f'the film,"{second}",{label}' for label, words in OPINIONS.items() for second in words.split("|")]
    (tmp_path / "pairs.csv").write_text("first,second,label\n" + "\n".join(rows), encoding="utf-8")
    backbone = f"hub:{presets / 'Bert'}"
    finetune(data=(str(tmp_path / "pairs.csv"),), to=tmp_path / "run", backbone=backbone, text_column="first",
             pair_column="second", validation_share=0.25, **QUICK)
    for found, expected in zip(starts[0], take_over(backbone)[2].get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    for name in ("export/1", "run.tflite"):  # verified inside against the run's own answers
        assert export(tmp_path / "run", to=tmp_path / name)


def test_depths_group_its_layers(family):
    num_layers = 11 if family == "Bert" else 2  # 1 and 10 are told apart
    config = hub.HubConfig(f"{family}Backbone", 9, 8, 6 if family == "Electra" else 8, num_layers, 2, 8, 8,
                           0 if family == "DistilBert" else 2, 3, 0.1)
    classifier = heads.classifier(hub.backbone(config), 2)
    head, *layers, embeddings = depths(classifier, num_layers)
    assert {variable.path for variable in head} == {"classes/kernel", "classes/bias"}
    for number, group in enumerate(reversed(layers)):
        assert len(group) == 16 and all(f"transformer_layer_{number}/" in variable.path for variable in group)
    assert len(embeddings) == {"Bert": 5, "DistilBert": 4, "Electra": 7}[family]
    assert sum(map(len, [head, *layers, embeddings])) == len(classifier.trainable_variables)
    optimizer = LayerwiseAdamW(1e-3, [head, *layers, embeddings])
    decayed = {variable.name for variable in classifier.trainable_variables if optimizer._use_weight_decay(variable)}
    assert decayed == {"kernel"}


def test_a_config_builds_what_the_preset_was(taken_over):
    tokenizer, described, encoder = taken_over
    described = json.loads(json.dumps(described))
    one = describe_model("encoder", described, "tiny", 0.2, 32, tokenizer.vocabulary_size, 2)
    assert one["family"] == "hub" and one["segment_length"] == 24 and one["model"]["dropout"] == 0.2
    several = describe_committee(one, 2, 2, has_unlabelled=False)
    committee = build_classifier({**several, "label_names": ["a", "b"], "classifier_dropout": 0.1})
    for number in range(2):
        built = committee.get_layer(f"member_{number}").get_layer("backbone")
        assert [(weight.path, weight.shape) for weight in built.weights] == [
            (weight.path, weight.shape) for weight in encoder.weights]
        built.set_weights(encoder.get_weights())
    rows = encode_examples(tokenizer, tf.constant(TEXTS), None, 32, 24)
    np.testing.assert_allclose(built(rows), encoder(rows), atol=1e-6)
    assert committee(rows).shape == (4, 2)


def test_what_cannot_be_taken_over(presets, labelled_csv, tmp_path, capsys, monkeypatch):
    def refused(backbone, *options):
        return one_line(capsys, "--data", labelled_csv, "--to", tmp_path / "run", "--backbone", backbone, *options)

    def no_network(*arguments, **options):
        raise ConnectionError("www.example.org cannot be reached")

    rule = "hub: takes a preset of KerasHub by its name, hf://OWNER/NAME or its folder"
    error = refused("hub:no_such_preset")
    assert rule in error and "Received: hub:no_such_preset, which cannot be loaded (Unknown preset identifier" in error
    for name in ("kagglehub.model_download", "huggingface_hub.hf_hub_download"):
        monkeypatch.setattr(name, no_network)
    for name in ("bert_tiny_en_uncased", "hf://owner/name"):
        error = refused(f"hub:{name}")
        assert rule in error and f"hub:{name}" in error and "cannot be reached" in error
        assert "give hub:FOLDER here" in error
    copy = shutil.copytree(presets / "Bert", tmp_path / "preset")
    (copy / "model.weights.h5").write_bytes(b"no weights")
    assert "cannot be loaded (" in refused(f"hub:{copy}")
    (copy / "assets" / "tokenizer" / "vocabulary.txt").unlink()
    assert "vocabulary.txt" in refused(f"hub:{copy}")
    (copy / "config.json").write_text("{")
    assert "cannot be loaded (" in refused(f"hub:{copy}")
    assert "no config.json" in refused(f"hub:{tmp_path}")
    gpt = hub.import_keras_hub().models.GPT2Backbone(9, 1, 1, 4, 4, max_sequence_length=8)
    gpt.save_to_preset(tmp_path / "gpt")
    error = refused(f"hub:{tmp_path / 'gpt'}")
    assert f"BERT, DistilBERT or ELECTRA, with WordPiece. Received: hub:{tmp_path / 'gpt'}, with GPT2Backbone" in error
    bert = f"hub:{presets / 'Bert'}"
    assert "comes without its masked LM. Received: hub:" in refused(bert, "--adapt-minutes", 1)
    assert "a backbone brings its own shape and tokenizer" in refused(bert, "--size", "base")
    assert "dropout must be in [0, 1)" in refused(bert, "--dropout", 1)
    assert not (tmp_path / "run").exists()


def test_fewer_rows_than_tokens(presets, tmp_path):
    copy = shutil.copytree(presets / "Bert", tmp_path / "preset")
    with open(copy / "assets" / "tokenizer" / "vocabulary.txt", "a", encoding="utf-8") as file:
        file.write("onemore\n")
    with pytest.raises(ValueError, match=f"{len(VOCABULARY)} rows for {len(VOCABULARY) + 1} tokens"):
        take_over(f"hub:{copy}")
