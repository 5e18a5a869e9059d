"""Conformal p-values: the count, ties, NaN, and the guarantee they are for."""

import math

import numpy as np
import oracles
import pytest

from mad.calibration import conformal_p_values


def test_p_values_are_counts():
    rng = np.random.default_rng(0)
    calibration = np.sort(rng.normal(size=19).round(1))
    bits = np.concatenate([rng.normal(size=40).round(1), calibration, [np.nan, -99, 99]])
    assert len(set(calibration)) < 19
    slow = [oracles.p_value(score, calibration) for score in bits]
    np.testing.assert_array_equal(conformal_p_values(bits, calibration), slow)


def test_a_hand_computed_example():
    bits = np.array([0.0, 1.0, 1.5, 2.0, 2.5, np.nan])
    p = conformal_p_values(bits, np.array([1.0, 2.0, 2.0]))
    np.testing.assert_array_equal(p, [1, 1, 0.75, 0.75, 0.25, np.nan])


def test_p_values_lie_between_one_over_m_plus_one_and_one():
    p = conformal_p_values(np.array([-np.inf, np.inf, 0.0]), np.zeros(99))
    np.testing.assert_array_equal(p, [1, 0.01, 1])


ALPHAS = (0.01, 0.05, 0.1, 0.29, 0.5, 0.9)


@pytest.mark.parametrize("places", [None, 0], ids=["continuous", "many ties"])
@pytest.mark.parametrize("m", [19, 99])
def test_exchangeable_inputs_are_flagged_no_more_often_than_alpha(m, places):
    trials = 4000
    rng = np.random.default_rng(m)
    scores = rng.standard_t(3, size=(trials, m + 1))
    scores = scores if places is None else scores.round(places)
    p = np.array([conformal_p_values(row[:1], np.sort(row[1:]))[0] for row in scores])
    for alpha in ALPHAS:
        sigma = math.sqrt(alpha * (1 - alpha) / trials)
        share = (p <= alpha).mean()
        assert share <= alpha + 4 * sigma
        if places is None:
            attainable = math.floor(alpha * (m + 1) + 1e-9) / (m + 1)
            assert share >= attainable - 4 * sigma
