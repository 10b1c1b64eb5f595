"""A fine-tuned run folder in, a classifier of strings out: what evaluate, predict, export and demo share."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import tensorflow as tf
from scipy.special import softmax

from data.batching import encode_all
from data.tasks import Examples
from data.tokenizer import Tokenizer
from models import baseline, bert, document_vectors, heads, hub, linear
from models.config import TransformerConfig, from_dict, transformer_config
from models.halves import in_halves
from models.run_folder import append_history, load_config, save_config, whole

BATCH_SIZE = 128
NUM_BUCKETS = 500_000  # of the tokens and pairs of a committee's bag and linear classifier: benchmarks/findings.md
LONGEST_SEGMENT = 128  # tokens; of an encoder trained from scratch
# Families by name: what describes them and what builds them. An encoder takes a head; a bag is a classifier as it is.
ENCODERS = {"bert": (TransformerConfig, bert.backbone), "hub": (hub.HubConfig, hub.backbone)}
BAGS = {"baseline": (baseline.BaselineConfig, baseline.baseline), "linear": (linear.LinearConfig, linear.linear),
        "document_vectors": (document_vectors.DocumentVectorsConfig, document_vectors.document_vectors)}


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A trained classifier with all that it needs to read strings.

    Attributes:
        model: `keras.Model`, {"token_ids", "segment_ids": int32 (B, L)} → float32 logits (B, C).
        tokenizer: the `Tokenizer` it was trained with.
        label_names: C names.
        task: "sentiment", "topic", "spam" or "classify".
        takes_pairs: it was trained on pairs of texts.
        sequence_length, segment_length: the longest row and the longest segment of it, in tokens.
    """

    model: object
    tokenizer: Tokenizer
    label_names: tuple
    task: str
    takes_pairs: bool
    sequence_length: int
    segment_length: int

    def probabilities(self, texts, pairs=None, progress=None):
        """The probability of each class for each text.

        Args:
            texts: N strings.
            pairs: N strings if the classifier takes pairs, else None.
            progress: called with the number of texts done.

        Returns:
            np.float32 (N, C).

        Raises:
            ValueError: pairs are missing, or given to a classifier of single texts.
        """
        if (pairs is not None) != self.takes_pairs:
            raise ValueError(f"this classifier takes {'pairs of texts' if self.takes_pairs else 'single texts'}. "
                             f"Received: {'single texts' if pairs is None else 'pairs'}")
        examples = Examples(list(texts), None if pairs is None else list(pairs), np.zeros(len(texts), np.int32),
                            self.label_names)
        if not len(examples):
            return np.zeros((0, len(self.label_names)), np.float32)
        encoded = encode_all(self.tokenizer, examples, self.sequence_length, self.segment_length)
        return softmax(outputs(self._graph, encoded, progress), axis=1)

    @functools.cached_property
    def _graph(self):
        return one_graph(self.model)


def one_graph(model):
    """The model as one graph for batches of every shape: three times as fast as layer by layer."""
    batch = {name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in model.input.items()}
    return tf.function(lambda batch: in_halves(lambda half: model(half, training=False), batch), [batch], autograph=False)


def outputs(graph, encoded, progress=None):
    """What a model gives for each example, in their order.

    Args:
        graph: `one_graph(model)`.
        encoded: `data.batching.EncodedExamples`, N of them, at least 1.
        progress: called with the number of examples done.

    Returns:
        np.float32 (N, …).
    """
    results, order = [], np.argsort([len(row) for row in encoded.rows], kind="stable")
    for start in range(0, len(order), BATCH_SIZE):
        batch = encoded.batch(order[start : start + BATCH_SIZE])
        results.append(graph({name: batch[name] for name in ("token_ids", "segment_ids")}).numpy())
        if progress:
            progress(len(results[-1]))
    return np.concatenate(results)[np.argsort(order)]


def describe_model(model, pretrained, size, dropout, sequence_length, vocabulary_size, num_classes, **bag):
    """What `build_classifier` needs to know: {"family": str, "model": dict, "segment_length": int}.

    `pretrained` is the config of a pretraining, or None; `bag` are further fields of `BaselineConfig`.
    """
    if model == "baseline":
        return {"family": "baseline", "segment_length": sequence_length,
                "model": dataclasses.asdict(baseline.BaselineConfig(vocabulary_size, num_classes, **bag))}
    if pretrained is None:
        config = transformer_config(size, vocabulary_size=vocabulary_size,
                                    sequence_length=min(sequence_length, LONGEST_SEGMENT))
        pretrained = {"family": "bert", "model": dataclasses.asdict(config)}
    return {"family": pretrained["family"], "model": {**pretrained["model"], "dropout": dropout},
            "segment_length": min(sequence_length, pretrained["model"]["sequence_length"])}


def describe_committee(encoder, num_encoders, num_classes, has_unlabelled):
    """The same of a committee: encoders, a bag of n-grams, and document vectors or a linear classifier.

    Args:
        encoder: what `describe_model` says of an encoder.
        has_unlabelled: there are texts without labels, from which document vectors learn most; else the n-grams of the
            labelled ones are better read by a linear classifier.
    """
    vocabulary_size = encoder["model"]["vocabulary_size"]
    bag = baseline.BaselineConfig(vocabulary_size, num_classes, num_buckets=NUM_BUCKETS)
    if has_unlabelled:
        last, config = "document_vectors", document_vectors.DocumentVectorsConfig(vocabulary_size, num_classes)
    else:
        last, config = "linear", linear.LinearConfig(vocabulary_size, num_classes, NUM_BUCKETS)
    members = [*[{"family": encoder["family"], "model": encoder["model"]}] * num_encoders,
               {"family": "baseline", "model": dataclasses.asdict(bag)},
               {"family": last, "model": dataclasses.asdict(config)}]
    return {"family": "committee", "model": {"members": members}, "segment_length": encoder["segment_length"]}


def build_classifier(config):
    """The model that a classifier run's config describes, with fresh weights."""
    if config["family"] == "committee":
        return heads.committee([build_classifier({**config, **member}) for member in config["model"]["members"]])
    if config["family"] in BAGS:
        config_class, build = BAGS[config["family"]]
        return build(from_dict(config_class, config["model"]))
    config_class, backbone = ENCODERS[config["family"]]
    encoder = backbone(from_dict(config_class, config["model"]))
    return heads.classifier(encoder, len(config["label_names"]), config["classifier_dropout"])


def save_classifier(folder, model, tokenizer, history, config):
    """Writes a run folder that `load_classifier` reads, whole or not at all."""
    with whole(folder) as unfinished:
        unfinished.mkdir()
        tokenizer.save(unfinished / "tokenizer.json")
        model.save_weights(unfinished / "classifier.weights.h5")
        for entry in history:
            append_history(unfinished, **entry)
        save_config(unfinished, "classifier", **config)


def load_classifier(folder):
    """Loads a run that `finetune` wrote.

    Raises:
        FileNotFoundError, ValueError: as `models.run_folder.load_config`.
    """
    folder = Path(folder)
    config = load_config(folder, "classifier")
    model = build_classifier(config)
    model.load_weights(folder / "classifier.weights.h5")
    return Classifier(model, Tokenizer.load(folder / "tokenizer.json"), tuple(config["label_names"]), config["task"],
                      config["takes_pairs"], config["sequence_length"], config["segment_length"])
