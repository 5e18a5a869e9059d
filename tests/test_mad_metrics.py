"""Metrics by brute-force counting."""

import math

import numpy as np
import oracles
import pytest

from mad.metrics import auroc, tpr_at_fpr


@pytest.fixture(params=["distinct", "ties"])
def scores(request):
    rng = np.random.default_rng(5)
    clean, anomalous = rng.normal(size=40), rng.normal(1.0, size=27)
    return (clean, anomalous) if request.param == "distinct" else (clean.round(), anomalous.round())


def test_auroc_is_the_share_of_pairs_in_order(scores):
    assert math.isclose(auroc(*scores), oracles.auroc(*scores))
    clean, anomalous = scores
    assert math.isclose(auroc(anomalous, clean), 1 - auroc(clean, anomalous))


def test_auroc_of_hand_computed_examples():
    assert auroc(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == 1
    assert auroc(np.array([3.0]), np.array([1.0, 2.0])) == 0
    assert auroc(np.array([1.0, 2.0]), np.array([2.0])) == 0.75


@pytest.mark.parametrize("fpr", ["0.0", "0.01", "0.05", "0.1", "0.3", "0.5", "0.99", "1.0"])
def test_tpr_is_counted_above_the_lowest_threshold_allowed(scores, fpr):
    assert tpr_at_fpr(*scores, float(fpr)) == oracles.tpr_at_fpr(*scores, fpr)


@pytest.mark.parametrize("fpr", ["0.29", "0.57", "0.58", "0.14", "0.28", "0.55", "0.56"])
def test_shares_that_floating_point_rounds_down_are_not_lost(fpr):
    """0.29 * 100 is 28.999999999999996, and 29 of 100 may exceed the threshold."""
    clean = np.arange(100.0)
    anomalous = np.arange(100.0) + 0.5
    assert tpr_at_fpr(clean, anomalous, float(fpr)) == oracles.tpr_at_fpr(clean, anomalous, fpr)
