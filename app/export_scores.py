"""A classifier and its export in, how accurate and how quick both are out, side by side."""

import statistics
import time

import tensorflow as tf
from rich.table import Table

from app.classifier import one_graph, outputs
from app.report import METRICS
from app.terminal import console, progress_bar
from data.batching import encode_all
from models.metrics import classification_metrics

TIMED_TEXTS = 100
MILLISECONDS = {"milliseconds": "milliseconds a text, without the tokenizer"}


def compare(classifier, examples, path):
    """Measures both on the same texts and shows a table.

    Args:
        classifier: `app.classifier.Classifier`, the run.
        examples: labelled `data.tasks.Examples`.
        path: of the export, a SavedModel or a TensorFlow Lite file.

    Returns:
        {"run", "export": {what `METRICS` names and "milliseconds", the median of one text alone}, "different": how many
        texts the export gives another label than the run}.
    """
    encoded = encode_all(classifier.tokenizer, examples, classifier.sequence_length, classifier.segment_length)
    logits = one_graph(classifier.model)
    functions = {"run": lambda batch: tf.nn.softmax(logits(batch)), "export": _exported(path)}
    found, best = {}, []
    for name, function in functions.items():
        with progress_bar(f"measure the {name}", len(encoded), "texts") as advance:
            probabilities = outputs(function, encoded, advance)
        metrics = classification_metrics(examples.labels, probabilities, classifier.label_names, bootstrap_samples=0)
        found[name] = {key: metrics[key] for key in METRICS}
        best.append(probabilities.argmax(axis=1))
    for name, milliseconds in _milliseconds(functions, encoded).items():
        found[name]["milliseconds"] = milliseconds
    found["different"] = int((best[0] != best[1]).sum())
    table = Table(title=f"{len(encoded):,} texts, {found['different']:,} of them with another label than before")
    for column in ("", "the run", "the export"):
        table.add_column(column, justify="right" if column else "left")
    for key, name in {**METRICS, **MILLISECONDS}.items():
        table.add_row(name, *(f"{found[one][key]:.4f}" for one in ("run", "export")))
    console.print(table)
    return found


def _exported(path):
    """An export as a function of a batch to probabilities, tf.float32 (B, C)."""
    if path.is_file():
        from app.lite import lite_probabilities

        answer = lite_probabilities(path)
        return lambda batch: tf.constant(answer(batch["token_ids"]))
    signature = tf.saved_model.load(str(path)).signatures["token_ids"]
    return lambda batch: signature(token_ids=tf.constant(batch["token_ids"]))["probabilities"]


def _milliseconds(functions, encoded):
    """The median time of one text by each function, in turn: whatever else the machine does is the same for all."""
    times = {name: [] for name in functions}
    for number in range(TIMED_TEXTS):
        batch = encoded.batch([number % len(encoded)])
        batch = {name: batch[name] for name in ("token_ids", "segment_ids")}
        for name, function in functions.items():
            start = time.perf_counter()
            function(batch).numpy()
            times[name].append(time.perf_counter() - start)
    return {name: 1000 * statistics.median(seconds) for name, seconds in times.items()}
