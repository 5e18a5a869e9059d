"""Assertions for other people's tests: they pass and fail where they should, with figures."""

import math

import numpy as np
import oracles
import pytest
from problems import numbers
from scipy.stats import betabinom
from test_mad_result import result_of

import mad
from mad.calibration import PerClass
from mad.metrics import alarm_law
from mad.testing import assert_calm, assert_detects


@pytest.fixture(scope="module")
def fitted(small_run):
    run, x = small_run
    return mad.Detector.fit(run, x.numpy())


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    """As the reference is drawn."""
    return numbers(161)(120, 5).numpy()


@pytest.fixture(scope="module")
def odd() -> np.ndarray:
    return 6 * numbers(162)(80, 5).numpy()


def refusal(check, *arguments, **settings) -> str:
    with pytest.raises(AssertionError) as caught:
        check(*arguments, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- detecting ------------------------------------------------------------------------------


def test_a_detector_detects_up_to_what_it_does(fitted, clean, odd):
    bits = [fitted.score(x).bits for x in (clean, odd)]
    auroc, tpr = oracles.auroc(*bits), oracles.tpr_at_fpr(*bits, "1/20")
    assert 0.7 < auroc < 0.9
    assert 0 < tpr < 1
    assert "and 0.9 was asked for" in refusal(assert_detects, fitted, odd, clean=clean)
    assert_detects(fitted, odd, clean=clean, auroc=auroc - 1e-6, tpr=tpr - 1e-6, at_fpr=0.05)
    said = refusal(assert_detects, fitted, odd, clean=clean, auroc=auroc + 1e-3)
    assert f"is {auroc:.4f}" in said
    assert "80 anomalies and 120 clean inputs" in said
    wanted = {"auroc": 0.7, "tpr": tpr + 1e-3, "at_fpr": 0.05}
    said = refusal(assert_detects, fitted, odd, clean=clean, **wanted)
    assert f"is {tpr:.4f}" in said
    assert "0.05 false alarms" in said


def test_clean_inputs_are_not_detected(fitted, clean):
    refusal(assert_detects, fitted, clean[:60], clean=clean[60:])


@pytest.mark.parametrize("broken", ["clean", "anomalies"])
def test_inputs_that_cannot_be_scored_fail(fitted, clean, odd, broken):
    given = {"clean": clean, "anomalies": odd}
    given[broken] = given[broken].copy()
    given[broken][[1, 5], 0] = np.nan
    said = refusal(assert_detects, fitted, given["anomalies"], clean=given["clean"])
    assert said.startswith(f"2 of {len(given[broken])} inputs hold NaN")


# --- calm -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pooled", "per-class"])
def test_a_detector_is_calm_on_clean_inputs_and_not_on_others(fitted, clean, odd, kind):
    detector = fitted.calibrating(kind)
    assert_calm(detector, clean, alpha=0.1)
    said = refusal(assert_calm, detector, 2 * odd, alpha=0.1)
    flags = detector.score(2 * odd).p_value <= 0.1
    assert "at alpha 0.1" in said
    if kind == "pooled":
        assert said.startswith(f"{flags.sum()} of 80 clean inputs are flagged")
        assert said.endswith(f"with {len(detector.calibrated)} calibration inputs")


def test_an_alpha_that_can_flag_nothing_is_warned_of(fitted, clean):
    with pytest.warns(mad.CalibrationWarning):
        assert_calm(fitted, clean, alpha=0.001)


def test_an_alpha_that_flags_everything_says_nothing_of_calm(fitted, clean):
    with pytest.raises(mad.InputError, match="at alpha 1 every input is flagged"):
        assert_calm(fitted, clean, alpha=1.0)


@pytest.mark.parametrize(("m", "n", "alpha"), [(99, 50, 0.1), (192, 837, 0.05), (40, 2000, 0.1)])
def test_a_detector_in_order_fails_one_time_in_a_hundred(m, n, alpha):
    """The calibration's chance included, which the binomial distribution leaves out."""
    trials = 3000
    rng = np.random.default_rng(m)
    most = betabinom.isf(0.01, *alarm_law(n, m, alpha))
    alarms = np.empty(trials)
    for trial in range(trials):
        calibration, bits = np.sort(rng.random(m)), rng.random(n)
        at_least = m - np.searchsorted(calibration, bits)
        alarms[trial] = ((1 + at_least) / (m + 1) <= alpha).sum()
    spread = 4 * math.sqrt(0.01 * 0.99 / trials)
    assert (alarms > most).mean() <= 0.01 + spread
    assert (alarms >= most).mean() >= 0.01 - spread
    assert most > alpha * n
    assert betabinom.isf(0.001, *alarm_law(n, m, alpha)) > most
    assert betabinom.isf(0.01, *alarm_law(n, m, 0.5 / (m + 1))) == 0


@pytest.mark.parametrize("more", [0, 1])
def test_per_class_a_hundredth_is_shared_among_classes(fitted, monkeypatch, more):
    """Three classes of a hundred calibration inputs each, fifty of each to judge."""
    alone, shared = (int(betabinom.isf(p, *alarm_law(50, 100, 0.1))) for p in (0.01, 0.01 / 3))
    assert alone < shared
    bits = np.zeros(150)
    bits[: 3 * (shared + more) : 3] = 1000.0
    result = result_of(bits, PerClass.of(np.arange(300.0), np.arange(300) % 3))
    monkeypatch.setattr("mad.testing.scored", lambda detector, x: result)
    if more:
        assert f"{shared + 1} of 50" in refusal(assert_calm, fitted, None, alpha=0.1)
    else:
        assert_calm(fitted, None, alpha=0.1)
