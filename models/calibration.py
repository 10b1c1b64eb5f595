"""Confidences and hits of a classifier in, a reliability diagram's bins and the calibration error out.

A calibrated classifier is right in 80 % of the cases in which it says 80 %.
"""

import dataclasses

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax


@dataclasses.dataclass(frozen=True)
class ReliabilityBins:
    """Bins of equal width over the confidence; an empty bin has accuracy and confidence 0.

    Attributes:
        lower, upper: float64 (M,), the edges; the bin holds lower < confidence <= upper (the first one also 0).
        count: int64 (M,), predictions in the bin.
        accuracy: float64 (M,), share of them that are right.
        confidence: float64 (M,), their mean confidence.
    """

    lower: np.ndarray
    upper: np.ndarray
    count: np.ndarray
    accuracy: np.ndarray
    confidence: np.ndarray


def reliability_bins(confidence, correct, bins=15):
    """Sorts predictions into bins (Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2).

    Args:
        confidence: float (N,), probability of the predicted class.
        correct: bool (N,), whether the predicted class is the true one.
        bins: M.

    Returns:
        `ReliabilityBins`.

    Raises:
        ValueError: the shapes differ, or a confidence is outside [0, 1].
    """
    confidence, correct = np.asarray(confidence, np.float64), np.asarray(correct, np.float64)
    if confidence.ndim != 1 or confidence.shape != correct.shape:
        raise ValueError("confidence and correct must both have the shape (N,). "
                         f"Received: {confidence.shape} and {correct.shape}")
    # A float32 softmax may exceed 1 by rounding. Written so that NaN fails it too.
    if not np.all((confidence >= 0) & (confidence <= 1 + 1e-6)):
        raise ValueError(f"confidences must be in [0, 1]. Received: {confidence.min()} to {confidence.max()}")
    edges = np.linspace(0.0, 1.0, bins + 1)
    # side="left": a confidence that equals an edge belongs to the bin below it, as in the paper.
    index = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    divisor = np.maximum(count, 1)
    return ReliabilityBins(
        lower=edges[:-1],
        upper=edges[1:],
        count=count,
        accuracy=np.bincount(index, correct, bins) / divisor,
        confidence=np.bincount(index, confidence, bins) / divisor,
    )


def expected_calibration_error(bins):
    """The mean gap between accuracy and confidence, each bin weighted by its count (Guo et al. 2017, equation 3)."""
    gap = np.abs(bins.accuracy - bins.confidence)
    return float((gap * bins.count).sum() / bins.count.sum())


def negative_log_likelihood(labels, probabilities):
    """The mean of -ln p(true class), in nats (Guo et al. 2017, equation 6, per example).

    Args:
        labels: int (N,).
        probabilities: float (N, C). One that underflowed to 0 counts as float32's smallest normal number
            (87.3 nats), so that a single example does not make the mean infinite.
    """
    of_label = np.asarray(probabilities, np.float64)[np.arange(len(labels)), labels]  # (N,)
    return float(-np.log(np.maximum(of_label, np.finfo(np.float32).tiny)).mean())


def stacked_weights(log_probabilities, labels):
    """How much each of several classifiers should count (Wolpert 1992, "Stacked generalization").

    The weights w_m ≥ 0 under which softmax(Σ w_m · log p_m) has the least negative log-likelihood: a useless
    classifier gets 0, an overconfident one less than 1.

    Args:
        log_probabilities: float (M, N, C), of examples that the classifiers have not learned.
        labels: int (N,).

    Returns:
        np.float32 (M,).
    """
    votes = np.asarray(log_probabilities, np.float64)
    truth = votes[:, np.arange(len(labels)), labels]  # (M, N)

    def loss_and_gradient(weights):
        summed = np.tensordot(weights, votes, 1)  # (N, C)
        loss = -log_softmax(summed, axis=1)[np.arange(len(labels)), labels].mean()
        expected = (votes * softmax(summed, axis=1)).sum(axis=2)  # (M, N)
        return loss, (expected - truth).mean(axis=1)

    start = np.full(len(votes), 1 / len(votes))
    return minimize(loss_and_gradient, start, jac=True, bounds=[(0, None)] * len(votes)).x.astype(np.float32)
