"""Reliability bins, calibration error and likelihood against numbers worked out by hand."""

import math

import numpy as np
import pytest

from models.calibration import expected_calibration_error, negative_log_likelihood, reliability_bins


def test_bins_and_error_by_hand():
    # Five bins of 0.2. Confidence 0.2 stands on an edge and belongs to the first bin, (0, 0.2].
    confidence = np.array([0.2, 0.1, 0.55, 0.45, 0.9, 0.95, 1.0])
    correct = np.array([True, False, True, False, True, True, False])
    bins = reliability_bins(confidence, correct, bins=5)
    assert bins.count.tolist() == [2, 0, 2, 0, 3]
    np.testing.assert_allclose(bins.accuracy, [0.5, 0, 0.5, 0, 2 / 3])
    np.testing.assert_allclose(bins.confidence, [0.15, 0, 0.5, 0, 0.95])
    np.testing.assert_allclose(bins.lower, [0, 0.2, 0.4, 0.6, 0.8], atol=1e-12)
    # (2 · |0.5 − 0.15| + 2 · |0.5 − 0.5| + 3 · |2/3 − 0.95|) / 7
    assert expected_calibration_error(bins) == pytest.approx((0.7 + 0 + 0.85) / 7)


def test_every_prediction_is_in_one_bin():
    confidence = np.concatenate([np.linspace(0, 1, 16), np.random.default_rng(0).random(1000)])
    bins = reliability_bins(confidence, confidence > 0.5)
    assert len(bins.count) == 15 and bins.count.sum() == len(confidence)
    full = bins.count > 0
    assert (bins.confidence[full] <= bins.upper[full] + 1e-12).all()
    assert (bins.confidence[full] >= bins.lower[full] - 1e-12).all()


def test_a_calibrated_classifier_has_hardly_any_error():
    generator = np.random.default_rng(0)
    confidence = generator.random(100_000)
    calibrated = reliability_bins(confidence, generator.random(100_000) < confidence)
    sure_and_half_right = reliability_bins(np.full(1000, 0.99), np.arange(1000) % 2 == 0)
    assert expected_calibration_error(calibrated) < 0.01
    assert expected_calibration_error(sure_and_half_right) == pytest.approx(0.49)


def test_negative_log_likelihood_by_hand():
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75]], np.float32)
    assert negative_log_likelihood(np.array([0, 1]), probabilities) == pytest.approx(
        (math.log(2) + math.log(4 / 3)) / 2)
    underflown = negative_log_likelihood(np.array([0]), np.array([[0.0, 1.0]], np.float32))
    assert math.isfinite(underflown) and underflown > 80


@pytest.mark.parametrize("confidence", [[0.5, np.nan], [-0.1, 0.5], [0.5, 1.1], [0.5]])
def test_impossible_confidences_are_refused(confidence):
    with pytest.raises(ValueError):
        reliability_bins(np.array(confidence), np.array([True, False]))


def test_a_rounding_error_above_one_is_accepted():
    assert reliability_bins(np.array([np.nextafter(np.float32(1), np.float32(2))]), np.array([True])).count[-1] == 1
