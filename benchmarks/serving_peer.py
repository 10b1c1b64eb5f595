"""The peers' sides of benchmarks/serving.py: transformers' pipeline, and ONNX Runtime with `tokenizers`."""

import functools
import itertools
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import quantize_dynamic
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer, pipeline
from transformers.modeling_outputs import SequenceClassifierOutput

from benchmarks.peers import serve

BATCH_SIZES = 8, 32, 128  # of which the fastest is taken


class Classifier(BertForSequenceClassification):
    """BERT whose classes are read from the mean of its vectors, as ours."""

    def forward(self, input_ids, attention_mask, **others):
        vectors = self.bert(input_ids, attention_mask).last_hidden_state  # (B, L, D)
        real = attention_mask[:, :, None].to(vectors.dtype)
        return SequenceClassifierOutput(logits=self.classifier((vectors * real).sum(1) / real.sum(1)))


def classifier(folder):
    """The model with the weights of `folder`/weights.npz."""
    weights = {name: torch.from_numpy(array) for name, array in np.load(folder / "weights.npz").items()}
    vocabulary, width = weights["bert.embeddings.word_embeddings.weight"].shape
    layers = 1 + max(int(name.split(".")[3]) for name in weights if ".layer." in name)
    model = Classifier(BertConfig(
        vocab_size=vocabulary, hidden_size=width, num_hidden_layers=layers, num_attention_heads=width // 64,
        intermediate_size=4 * width, hidden_act="gelu_pytorch_tanh", num_labels=len(weights["classifier.bias"]),
        max_position_embeddings=len(weights["bert.embeddings.position_embeddings.weight"]))).eval()
    missing, unknown = model.load_state_dict(weights, strict=False)
    if unknown or any("pooler" not in name for name in missing):
        raise ValueError(f"the weights must be those of the model. Received: without {missing}, with {unknown}")
    return model


def export(folder):
    """Writes fp32.onnx and int8.onnx."""
    example = {"input_ids": torch.ones(2, 8, dtype=torch.int64), "attention_mask": torch.ones(2, 8, dtype=torch.int64)}
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    torch.onnx.export(classifier(folder), kwargs=example, f=str(folder / "fp32.onnx"), dynamo=True,
                      dynamic_shapes=dict.fromkeys(example, axes), external_data=False)
    quantize_dynamic(folder / "fp32.onnx", folder / "int8.onnx")


class Pipeline:
    """transformers' pipeline."""

    def __init__(self, folder):
        torch.set_num_threads(os.cpu_count())
        self.pipeline = pipeline("text-classification", classifier(folder), device="cpu",
                                 tokenizer=BertTokenizer(str(folder / "vocab.txt")))

    def __call__(self, texts):
        """Probabilities float (B, C)."""
        found = self.pipeline(texts, batch_size=len(texts), top_k=None)
        return [[score["score"] for score in sorted(scores, key=lambda score: score["label"])] for scores in found]


class Onnx:
    """ONNX Runtime behind `tokenizers`."""

    def __init__(self, folder, file):
        self.tokenizer = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True)
        self.tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = os.cpu_count()
        self.session = onnxruntime.InferenceSession(folder / file, options, providers=["CPUExecutionProvider"])

    def __call__(self, texts):
        """Probabilities float (B, C)."""
        encoded = self.tokenizer.encode_batch(texts)
        logits, = self.session.run(None, {"input_ids": np.array([one.ids for one in encoded]),
                                          "attention_mask": np.array([one.attention_mask for one in encoded])})
        powers = np.exp(logits - logits.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)


def batches(texts, size):
    """Endless batches of so many texts, from the first one again after the last."""
    while True:
        yield from (texts[start : start + size] for start in range(0, len(texts), size))


def measure(question):
    """Answers `serving.py`'s questions of texts of a length: "probabilities", "one" at a time, or at "full" load."""
    texts = texts_of[question["length"]]
    if question["what"] == "probabilities":
        return np.concatenate([run(some) for some in (texts[n : n + 32] for n in range(0, len(texts), 32))]).tolist()
    size = 1 if question["what"] == "one" else best_batch_size(question["length"])
    started, seconds = time.perf_counter(), []
    for some in batches(texts, size):
        begun = time.perf_counter()
        run(some)
        seconds.append(time.perf_counter() - begun)
        if time.perf_counter() - started > question["seconds"]:
            return {"texts": size * len(seconds), "seconds": time.perf_counter() - started, "batch_size": size,
                    "latencies": np.percentile(seconds, (50, 99)).tolist()}


@functools.cache
def best_batch_size(length):
    """The one of `BATCH_SIZES` with which most texts a second are answered."""
    def seconds(size):
        started = time.perf_counter()
        for some in itertools.islice(batches(texts_of[length], size), max(BATCH_SIZES) // size):
            run(some)
        return time.perf_counter() - started

    return min(BATCH_SIZES, key=seconds)


if __name__ == "__main__":
    side, folder = sys.argv[1], Path(sys.argv[2])
    if side == "export":
        export(folder)
        print("null")
    else:
        texts_of = json.loads((folder / "texts.json").read_text(encoding="utf-8"))["texts"]
        run = Pipeline(folder) if side == "transformers" else Onnx(folder, f"{side}.onnx")
        serve(measure)
