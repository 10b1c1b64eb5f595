"""True labels (N,) and probabilities (N, C) of a classifier in, a dictionary of metrics with intervals out.

Evaluation, fine-tuning and the demo all call this, so that a number has one definition. The dictionary holds only
what JSON knows.
"""

import numpy as np

from models.calibration import expected_calibration_error, negative_log_likelihood, reliability_bins


def classification_metrics(labels, probabilities, label_names, *, bootstrap_samples=1000, seed=0):
    """Accuracy, F1, confusion matrix, calibration and 95 % intervals of one set of predictions.

    Args:
        labels: int (N,) in [0, C).
        probabilities: float (N, C); the predicted class is the first of the most probable ones.
        label_names: C names.
        bootstrap_samples: resamples for the intervals; 0 leaves the intervals out.
        seed: of the bootstrap.

    Returns:
        A dictionary: "n_examples", "accuracy", "macro_f1", "weighted_f1",
        "intervals": {"accuracy": [low, high], "macro_f1": [low, high]},
        "classes": a list of {"label", "precision", "recall", "f1", "support"},
        "confusion_matrix": C lists of C counts, rows are the truth,
        "expected_calibration_error", "negative_log_likelihood" (nats), "reliability_bins".
        Macro F1 is the mean over the classes that occur among the true or the predicted ones (scikit-learn's rule).

    Raises:
        ValueError: no example, shapes that do not fit together, or probabilities that are not finite.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, np.float64)
    if not len(labels):
        raise ValueError("metrics need at least one example. Received: none")
    if probabilities.shape != (len(labels), len(label_names)):
        raise ValueError(f"probabilities must have the shape ({len(labels)} labels, {len(label_names)} names). "
                         f"Received: {probabilities.shape}")
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities must be finite. Received NaN or infinity: this model is broken, train again")

    from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

    classes = range(len(label_names))
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(labels, predicted, labels=classes)  # (C, C)
    per_class = precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0)
    bins = reliability_bins(probabilities.max(axis=1), predicted == labels)
    metrics = {
        "n_examples": len(labels),
        "accuracy": float((predicted == labels).mean()),
        "macro_f1": float(f1_score(labels, predicted, average="macro", zero_division=0)),
        "weighted_f1": float(f1_score(labels, predicted, average="weighted", zero_division=0)),
        "classes": [
            {"label": name, "precision": float(precision), "recall": float(recall), "f1": float(f1),
             "support": int(support)}
            for name, precision, recall, f1, support in zip(label_names, *per_class, strict=True)
        ],
        "confusion_matrix": confusion.tolist(),
        "expected_calibration_error": expected_calibration_error(bins),
        "negative_log_likelihood": negative_log_likelihood(labels, probabilities),
        "reliability_bins": {name: values.tolist() for name, values in vars(bins).items()},
    }
    if bootstrap_samples:
        metrics["intervals"] = bootstrap_intervals(confusion, bootstrap_samples, seed)
    return metrics


def bootstrap_intervals(confusion, samples=1000, seed=0):
    """95 % percentile bootstrap intervals (Efron & Tibshirani 1993, chapter 13) of accuracy and macro F1.

    Args:
        confusion: int (C, C), rows are the truth.
        samples: S, the number of resamples.
        seed: of the generator.

    Returns:
        {"accuracy": [low, high], "macro_f1": [low, high]}.
    """
    # Both metrics see the examples only through the confusion matrix. Drawing N examples with replacement and
    # counting them by cell is, by definition, a draw from a multinomial with the cells' shares: the distribution is
    # the same, and the work no longer depends on N. Empty cells stay empty and are left out.
    truth, predicted = np.nonzero(confusion)  # (K,) each
    counts = confusion[truth, predicted]
    drawn = np.random.default_rng(seed).multinomial(counts.sum(), counts / counts.sum(), size=samples)  # (S, K)
    classes = np.arange(len(confusion))
    supports = drawn @ (truth[:, None] == classes)  # (S, C)
    claims = drawn @ (predicted[:, None] == classes)  # (S, C)
    hits = drawn @ ((truth == predicted)[:, None] & (truth[:, None] == classes))  # (S, C)
    # A class that a resample lacks, both true and predicted, takes no part in that resample's mean.
    occurs = supports + claims > 0
    f1 = 2 * hits / np.maximum(supports + claims, 1)
    return {
        "accuracy": np.percentile(hits.sum(axis=1) / counts.sum(), [2.5, 97.5]).tolist(),
        "macro_f1": np.percentile(f1.sum(axis=1) / occurs.sum(axis=1), [2.5, 97.5]).tolist(),
    }
