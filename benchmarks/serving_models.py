"""Film reviews in, what benchmarks/serving.py serves out: a BERT that its peers can have too, our encoder, texts."""

import itertools
import json
import re

import numpy as np

from benchmarks import peers

VOCABULARY_SIZE, LAYERS, HIDDEN, HEADS, LENGTHS = 8192, 4, 256, 4, (16, 64, 256)
TEXTS = 512  # of each length
# KerasHub's names of weights, piece by piece, and transformers'.
NAMES = (("token_embedding", "bert.embeddings.word_embeddings"),
         ("position_embedding", "bert.embeddings.position_embeddings"),
         ("segment_embedding", "bert.embeddings.token_type_embeddings"),
         ("embeddings_layer_norm", "bert.embeddings.LayerNorm"),
         (r"transformer_layer_(\d+)/", r"bert.encoder.layer.\1."),
         ("self_attention_layer_norm", "attention.output.LayerNorm"),
         ("self_attention_layer/attention_output", "attention.output.dense"),
         ("self_attention_layer/", "attention.self."),
         ("feedforward_layer_norm", "output.LayerNorm"),
         ("feedforward_intermediate_dense", "intermediate.dense"),
         ("feedforward_output_dense", "output.dense"),
         ("classes", "classifier"),
         ("/(embeddings|kernel|gamma)$", ".weight"),
         ("/(bias|beta)$", ".bias"))


def make(data, folder):
    """Fine-tunes both models on SST-2 and exports them as folder/export/bert and folder/export/encoder.

    Of the BERT the peers get folder/weights.npz, transformers' names and shapes, and folder/vocab.txt. folder/texts.json
    holds "texts", {length: [text]}, and "probabilities", {length: [[of each class, by the BERT]]}.

    Args:
        data: folder of the open sets.
        folder: to make.
    """
    from tokenizers import BertWordPieceTokenizer

    from app.classifier import load_classifier
    from app.export import export
    from app.finetune import finetune
    from data.sources import clean_text
    from models.hub import import_keras_hub

    folder.mkdir()
    sentences, reviews = (data / name / "train.jsonl.gz" for name in ("sst2", "imdb"))
    texts = [clean_text(row["text"]) for row in peers.read(reviews)[::5]]
    wordpiece = BertWordPieceTokenizer(lowercase=True)
    wordpiece.train_from_iterator(texts, VOCABULARY_SIZE, show_progress=False)
    wordpiece.save_model(str(folder))  # vocab.txt
    wordpiece = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True)  # which adds [CLS] and [SEP]
    vocabulary = sorted(wordpiece.get_vocab(), key=wordpiece.token_to_id)
    models = import_keras_hub().models
    bert = models.BertBackbone(len(vocabulary), LAYERS, HEADS, HIDDEN, 4 * HIDDEN, max_sequence_length=max(LENGTHS))
    for part in (bert, models.BertTokenizer(vocabulary=vocabulary, lowercase=True, strip_accents=True)):
        part.save_to_preset(str(folder / "preset"))
    shared = {"data": (str(sentences),), "sequence_length": max(LENGTHS), "num_epochs": 2}
    # As from scratch: this backbone has random weights.
    finetune(**shared, to=folder / "bert", backbone=f"hub:{folder / 'preset'}", learning_rate=5e-4, layer_decay=1.0)
    finetune(**shared, to=folder / "encoder", size="mini", tokenizer=folder / "bert" / "tokenizer.json")
    for name in ("bert", "encoder"):
        export(folder / name, to=folder / "export" / name / "1")
    classifier = load_classifier(folder / "bert")
    np.savez(folder / "weights.npz", **weights(classifier.model))
    texts = {length: of_length(texts, wordpiece, length) for length in LENGTHS}
    probabilities = {length: classifier.probabilities(some).tolist() for length, some in texts.items()}
    found = {"texts": texts, "probabilities": probabilities}
    (folder / "texts.json").write_text(json.dumps(found), encoding="utf-8")


def of_length(texts, wordpiece, length):
    """The beginnings of the first `TEXTS` texts that are long enough: so many tokens, [CLS] and [SEP] included."""
    encoded = zip(texts, map(wordpiece.encode, texts))
    beginnings = (text[: tokens.offsets[length - 2][1]] for text, tokens in encoded if len(tokens) >= length)
    # What is cut within a word that is [UNK] may have other tokens.
    return list(itertools.islice((text for text in beginnings if len(wordpiece.encode(text)) == length), TEXTS))


def weights(model):
    """The weights of a classifier on KerasHub's BERT, {transformers' name: np.float32 array as there}."""
    found = {}
    for weight in model.weights:
        name, value = weight.path, weight.numpy()
        if name.endswith("kernel"):
            is_output = "attention_output" in name  # (H, D/H, D), where those of queries, keys and values are (D, H, D/H)
            value = value.reshape((-1, value.shape[-1]) if is_output else (len(value), -1)).T
        elif name.endswith("bias"):
            value = value.reshape(-1)
        for pattern, replacement in NAMES:
            name = re.sub(pattern, replacement, name)
        found[name] = value
    return found
