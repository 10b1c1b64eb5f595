"""Shapes, what may not change an output, an encoder written again in NumPy, saving, training with fit."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from data.tokenizer import CLS, SEP
from models import bert, gpt, heads
from models.baseline import BaselineConfig, baseline, table_rows
from models.config import SIZES, TransformerConfig, from_dict, transformer_config
from models.attention import ROTARY_BASE

CONFIG = TransformerConfig(vocabulary_size=32, hidden_dim=16, num_layers=2, num_heads=2, intermediate_dim=24,
                           sequence_length=20)
BASELINE = BaselineConfig(vocabulary_size=32, num_classes=3, embedding_dim=8, num_buckets=50,
                          longest_ngram=3)


def randomise(model, seed=0):
    """Untrained blocks are identities: give every weight a value that does something."""
    random = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        centre = 1.0 if "scale" in variable.path else 0.0
        variable.assign(random.normal(centre, 0.3, variable.shape))
    return model


def documents(lengths, seed=0):
    random = np.random.default_rng(seed)
    return [[CLS, *random.integers(5, 32, length - 2).tolist(), SEP] for length in lengths]


def rows(packed, length=20):
    """Lists of documents, one list a row, as model inputs."""
    token_ids, segment_ids = np.zeros((2, len(packed), length), np.int32)
    for row, segments in enumerate(packed):
        ids = sum(segments, [])
        token_ids[row, : len(ids)] = ids
        numbers = np.repeat(np.arange(len(segments)) + 1, [len(segment) for segment in segments])
        segment_ids[row, : len(ids)] = numbers
    return {"token_ids": token_ids, "segment_ids": segment_ids}


def masked_lm_batch(seed=0):
    random = np.random.default_rng(seed)
    batch = rows([documents([9, 8], seed), documents([6], seed + 1)])
    batch["mask_positions"] = random.integers(0, 6, (2, 4)).astype(np.int32)
    return batch, random.integers(5, 32, (2, 4)).astype(np.int32), np.array([[1, 1, 1, 0], [1, 0, 0, 0]], np.float32)


def classifiers():
    return {"encoder": heads.classifier(bert.backbone(CONFIG), 3), "baseline": baseline(BASELINE)}


def compiled(model, optimizer="adam"):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    model.compile(optimizer, loss, weighted_metrics=["sparse_categorical_accuracy"], jit_compile=False)
    return model


def test_shapes():
    backbone = bert.backbone(CONFIG)
    batch, _, _ = masked_lm_batch()
    inputs = {name: batch[name] for name in ("token_ids", "segment_ids")}
    assert backbone(inputs).shape == (2, 20, 16) and backbone.output.shape == (None, None, 16)
    logits = heads.masked_lm(backbone)(batch)
    assert logits.shape == (2, 4, 32) and logits.dtype == tf.float32
    for model in classifiers().values():
        assert model(inputs).shape == (2, 3) and model(inputs).dtype == tf.float32


@pytest.mark.parametrize("family", [bert, gpt])
def test_packed_rows_give_what_single_documents_give(family):
    backbone = randomise(family.backbone(CONFIG))
    lengths = [5, 3, 7]
    segments = documents(lengths)
    packed = backbone(rows([segments])).numpy()[0]
    single = backbone(rows([[segment] for segment in segments])).numpy()
    start = 0
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(packed[start : start + length], single[row, :length], atol=1e-5)
        start += length


@pytest.mark.parametrize("family", ["encoder", "baseline"])
def test_padding_and_company_change_nothing(family):
    model = randomise(classifiers()[family])
    segments = documents([8, 3, 5, 20])
    together = model(rows([[segment] for segment in segments])).numpy()
    for number, segment in enumerate(segments):
        for length in {len(segment), 20}:
            alone = model(rows([[segment]], length)).numpy()
            np.testing.assert_allclose(alone[0], together[number], atol=1e-5)
    backwards = model(rows([[segment] for segment in segments[::-1]])).numpy()
    np.testing.assert_allclose(backwards[::-1], together, atol=1e-5)
    # The test can fail: another token is another output.
    segments[0][3] = 5 + (segments[0][3] - 4) % 27
    assert np.abs(model(rows([[segments[0]]])).numpy()[0] - together[0]).max() > 1e-3


def test_the_order_of_tokens_matters():
    model = randomise(bert.backbone(CONFIG))
    first, second = model(rows([[[CLS, 7, 8, SEP]], [[CLS, 8, 7, SEP]]])).numpy()
    assert np.abs(first[0] - second[0]).max() > 1e-3


def normed(x, scale=None, epsilon=1e-7):
    x = x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + epsilon)
    return x if scale is None else x * scale


def softmax(x):
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


def relative_score(query, key, distance):
    """The product after rotation, as complex numbers: each pair of features turns by its frequency × the distance."""
    half = len(query) // 2
    pairs = (query[:half] + 1j * query[half:]) * np.conj(key[:half] + 1j * key[half:])
    return (pairs * np.exp(1j * distance * 1000.0 ** (-np.arange(half) / half))).real.sum()


def rotated(x):
    """Pairs of features as complex numbers, turned by position × frequency: (L, d) → (L, d)."""
    half = x.shape[1] // 2
    angles = np.arange(len(x))[:, None] * ROTARY_BASE ** (-np.arange(half) / half)
    turned = (x[:, :half] + 1j * x[:, half:]) * np.exp(1j * angles)
    return np.concatenate([turned.real, turned.imag], axis=1)


def encoder_in_numpy(weights, token_ids, num_heads, num_layers):
    """One document without padding, int (L,) → float64 (L, D)."""
    def norm(x, name):
        return normed(x, weights[f"{name}/scale"], 1e-6)

    x = norm(weights["token_embedding/embeddings"][token_ids], "embedding_norm")
    nothing = np.zeros((1, x.shape[1]))
    before, after = np.concatenate([nothing, x[:-1]]), np.concatenate([x[1:], nothing])
    x = norm(x + np.concatenate([before, after], axis=1) @ weights["local_mixing/kernel"], "mixing_norm")
    for layer in range(num_layers):
        name = f"layer_{layer}"
        projected = norm(x, f"{name}_attention_norm") @ weights[f"{name}_attention/query_key_value"]
        query, key, value = (part.reshape(len(x), num_heads, -1) for part in np.split(projected, 3, axis=1))
        mixed = np.zeros_like(value)
        for head in range(num_heads):
            scores = rotated(normed(query[:, head])) @ rotated(normed(key[:, head])).T / np.sqrt(query.shape[-1])
            mixed[:, head] = softmax(scores) @ value[:, head]
        x = x + mixed.reshape(len(x), -1) @ weights[f"{name}_attention/output_projection"]
        wide = norm(x, f"{name}_feedforward_norm") @ weights[f"{name}_intermediate/kernel"]
        x = x + np.maximum(wide, 0) ** 2 @ weights[f"{name}_output/kernel"]
    return norm(x, "final_norm")


def weights_of(model):
    return {variable.path: variable.numpy().astype(np.float64) for variable in model.variables}


def test_the_encoder_equals_one_written_in_numpy():
    backbone = randomise(bert.backbone(CONFIG))
    segments = documents([12, 8])
    found = backbone(rows([segments])).numpy()[0]
    weights = weights_of(backbone)
    expected = np.concatenate([encoder_in_numpy(weights, segment, CONFIG.num_heads, CONFIG.num_layers)
                               for segment in segments])
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_masked_lm_predicts_at_its_positions():
    backbone = bert.backbone(CONFIG)
    model = randomise(heads.masked_lm(backbone))
    batch, _, _ = masked_lm_batch()
    found = model(batch).numpy()
    hidden = backbone({name: batch[name] for name in ("token_ids", "segment_ids")}).numpy()
    weights = weights_of(model)
    bias = next(value for name, value in weights.items() if name.endswith("vocabulary_bias/bias"))
    embedding = next(value for name, value in weights.items() if name.endswith("token_embedding/embeddings"))
    everywhere = hidden @ embedding.T + bias  # (2, 20, 32)
    np.testing.assert_allclose(found, everywhere[np.arange(2)[:, None], batch["mask_positions"]], atol=1e-4)


def test_the_classifier_pools_real_tokens_only():
    backbone = bert.backbone(CONFIG)
    model = randomise(heads.classifier(backbone, 3))
    batch = rows([documents([7]), documents([20]), []])
    hidden = backbone(batch).numpy()
    kernel, bias = (layer.numpy() for layer in model.get_layer("classes").trainable_variables)
    pooled = np.stack([hidden[0, :7].mean(axis=0), hidden[1].mean(axis=0), np.zeros(16)])
    np.testing.assert_allclose(model(batch), pooled @ kernel + bias, atol=1e-5)


def test_an_untrained_model_knows_nothing():
    batch, labels, weight = masked_lm_batch()
    model = compiled(heads.masked_lm(bert.backbone(TransformerConfig(32, 16, 2, 2, 32, 20))))
    assert model.evaluate(batch, labels, sample_weight=weight, verbose=0)[0] == pytest.approx(np.log(32), abs=0.15)
    classifier = compiled(heads.classifier(bert.backbone(CONFIG), 3))
    inputs = {name: batch[name] for name in ("token_ids", "segment_ids")}
    assert classifier.evaluate(inputs, labels[:, 0] % 3, verbose=0)[0] == pytest.approx(np.log(3), abs=1e-6)


@pytest.mark.parametrize("kind", ["masked_lm", "encoder", "baseline"])
def test_fit_in_a_notebook(kind):
    if kind == "masked_lm":
        example = masked_lm_batch()
        model = heads.masked_lm(bert.backbone(CONFIG))
    else:
        inputs = rows([documents([9], seed) for seed in range(6)])
        example = inputs, np.arange(6, dtype=np.int32) % 3, np.ones(6, np.float32)
        model = classifiers()[kind]
    dataset = tf.data.Dataset.from_tensor_slices(example).repeat(12).batch(6)
    history = compiled(model, keras.optimizers.Adam(0.02)).fit(dataset, epochs=4, verbose=0).history
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert model.predict(example[0], verbose=0).shape == model(example[0]).shape


@pytest.mark.parametrize("build", [
    lambda: heads.masked_lm(bert.backbone(CONFIG)), lambda: bert.backbone(CONFIG),
    lambda: classifiers()["encoder"], lambda: classifiers()["baseline"]])
def test_saving_keeps_every_output(build, tmp_path):
    batch, _, _ = masked_lm_batch()
    model = randomise(build())
    inputs = {name: batch[name] for name in model.input}
    expected = model(inputs).numpy()
    model.save_weights(tmp_path / "model.weights.h5")
    other = build()
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(other(inputs), expected)
    if model.name != "masked_lm":  # see its docstring
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_allclose(loaded(inputs), expected, atol=1e-6)


def test_a_backbone_goes_from_one_head_to_another(tmp_path):
    pretrained = bert.backbone(CONFIG)
    randomise(heads.masked_lm(pretrained))
    pretrained.save_weights(tmp_path / "backbone.weights.h5")
    classifier = heads.classifier(bert.backbone(dataclasses.replace(CONFIG, dropout=0.1)), 3)
    classifier.get_layer("backbone").load_weights(tmp_path / "backbone.weights.h5")
    batch = rows([documents([7])])
    np.testing.assert_array_equal(classifier.get_layer("backbone")(batch), pretrained(batch))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_gives_float32_logits(policy):
    batch, _, _ = masked_lm_batch()
    expected = randomise(heads.masked_lm(bert.backbone(CONFIG)))(batch)
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        logits = randomise(heads.masked_lm(bert.backbone(CONFIG)))(batch)
        assert logits.dtype == tf.float32
        assert np.corrcoef(np.ravel(logits), np.ravel(expected))[0, 1] > 0.99
        for model in classifiers().values():
            assert model({name: batch[name] for name in model.input}).dtype == tf.float32
    finally:
        keras.mixed_precision.set_dtype_policy("float32")


def test_gradients_stay_finite_for_a_row_of_padding():
    model = randomise(heads.masked_lm(bert.backbone(CONFIG)))
    batch = {"token_ids": np.zeros((2, 20), np.int32), "segment_ids": np.zeros((2, 20), np.int32),
             "mask_positions": np.zeros((2, 4), np.int32)}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    for weight in (np.zeros((2, 4)), np.ones((2, 4))):
        with tf.GradientTape() as tape:
            value = loss(np.zeros((2, 4)), model(batch), weight)
        gradients = tape.gradient(value, [variable.value for variable in model.trainable_variables])
        assert np.isfinite(value)
        for gradient in gradients:
            assert np.isfinite(tf.convert_to_tensor(gradient)).all()


def test_hashed_ngrams_equal_plain_python():
    def wrapped(number):
        return (number + 2**31) % 2**32 - 2**31

    ids = np.random.default_rng(0).integers(0, 30_000, (3, 9)).astype(np.int32)
    tokens, *found = table_rows(tf.constant(ids), dataclasses.replace(BASELINE, num_buckets=1009))
    np.testing.assert_array_equal(tokens, ids)
    for row in range(3):
        for place in range(9):
            first, second, third = (int(ids[row, place - n]) if place >= n else 0 for n in range(3))
            bigram = wrapped(first * -1640531527 + second)
            assert found[0][row, place] == bigram % 1009
            assert found[1][row, place] == wrapped(bigram * -1640531527 + third) % 1009
    buckets = np.concatenate([np.ravel(part) for part in table_rows(
        tf.constant(np.random.default_rng(1).integers(5, 8000, (200, 50)), tf.int32), BASELINE)[1:]])
    counts = np.bincount(buckets, minlength=50)
    assert len(counts) == 50 and counts.min() > 0.8 * counts.mean()  # buckets are filled evenly


def test_ngrams_tell_orders_apart():
    with_ngrams = randomise(baseline(BASELINE))
    without = randomise(baseline(dataclasses.replace(BASELINE, num_buckets=0)))
    one, other = rows([[[CLS, 7, 8, 9, SEP]]]), rows([[[CLS, 9, 8, 7, SEP]]])
    np.testing.assert_allclose(without(one), without(other), atol=1e-6)
    assert np.abs(with_ngrams(one).numpy() - with_ngrams(other).numpy()).max() > 1e-3
    assert {layer.name for layer in with_ngrams.layers} >= {"token_embedding", "bigram_embedding", "trigram_embedding"}


def test_baseline_is_mean_and_dense():
    model = randomise(baseline(dataclasses.replace(BASELINE, num_buckets=0)))
    weights = weights_of(model)
    ids = documents([6])[0]
    mean = weights["token_embedding/embeddings"][ids].mean(axis=0)
    np.testing.assert_allclose(model(rows([[ids]]))[0], mean @ weights["classes/kernel"] + weights["classes/bias"],
                               atol=1e-5)


def test_named_sizes_and_explicit_widths():
    for name, (num_layers, hidden_dim, num_heads) in SIZES.items():
        config = transformer_config(name, vocabulary_size=100, sequence_length=64)
        assert (config.num_layers, config.hidden_dim, config.num_heads) == (num_layers, hidden_dim, num_heads)
        assert config.intermediate_dim == 4 * hidden_dim and config.hidden_dim // config.num_heads == 64
    config = transformer_config("tiny", vocabulary_size=100, sequence_length=64, hidden_dim=320, num_layers=3)
    assert (config.num_layers, config.hidden_dim, config.num_heads, config.intermediate_dim) == (3, 320, 5, 1280)
    assert transformer_config("tiny", vocabulary_size=100, sequence_length=64, hidden_dim=16).num_heads == 1
    for name in ("num_layers", "hidden_dim", "num_heads", "intermediate_dim"):
        with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1. Received: 0"):
            transformer_config("tiny", vocabulary_size=100, sequence_length=64, **{name: 0})


@pytest.mark.parametrize(("change", "message"), [
    ({"num_layers": 0}, "num_layers must be a whole number of at least 1. Received: 0"),
    ({"hidden_dim": 16.0}, "hidden_dim must be a whole number"),
    ({"num_heads": 3}, "hidden_dim must be an even multiple of num_heads. Received: hidden_dim=16, num_heads=3"),
    ({"num_heads": 16}, "hidden_dim must be an even multiple of num_heads. Received: hidden_dim=16, num_heads=16"),
    ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
])
def test_impossible_encoders_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **change)


def test_other_impossible_configs():
    with pytest.raises(ValueError, match="size must be one of tiny, mini, small, medium, base. Received: huge"):
        transformer_config("huge", vocabulary_size=100, sequence_length=64)
    with pytest.raises(ValueError, match="sizes must be at least 1"):
        dataclasses.replace(BASELINE, num_classes=0)
    with pytest.raises(ValueError, match="longest_ngram 2 or 3. Received: num_buckets=50, longest_ngram=4"):
        dataclasses.replace(BASELINE, longest_ngram=4)


def test_configs_come_back_from_json():
    values = dataclasses.asdict(CONFIG)
    assert from_dict(TransformerConfig, values) == CONFIG
    for wrong in ({**values, "colour": 1}, {"hidden_dim": 16}):
        with pytest.raises(ValueError, match="TransformerConfig needs exactly the keys"):
            from_dict(TransformerConfig, wrong)
