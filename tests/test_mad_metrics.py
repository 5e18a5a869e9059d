"""Metrics by brute-force counting."""

import math
from fractions import Fraction

import numpy as np
import oracles
import pytest
from scipy.stats import betabinom
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from mad.calibration import PerClass, Pooled
from mad.metrics import (
    Ranking,
    alarm_laws,
    area_under_roc,
    auroc,
    average_precision,
    estimates,
    fpr_at,
    fpr_at_tpr,
    mean_precision,
    tpr_at,
    tpr_at_fpr,
    usual_alarms,
)

METRICS = {
    "auroc": area_under_roc,
    "precision": mean_precision,
    "tpr": tpr_at(0.1),
    "fpr": fpr_at(0.8),
}


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


@pytest.mark.parametrize("tpr", ["0.0", "0.01", "0.3", "0.5", "0.8", "0.95", "1.0"])
def test_fpr_is_counted_above_the_highest_threshold_that_finds_enough(scores, tpr):
    clean, anomalous = scores
    for threshold in [math.inf, *sorted(anomalous, reverse=True)]:
        found = Fraction(sum(1 for a in anomalous if a >= threshold), len(anomalous))
        if found >= Fraction(tpr):
            break
    expected = sum(1 for c in clean if c >= threshold) / len(clean)
    assert fpr_at_tpr(*scores, float(tpr)) == expected


@pytest.mark.parametrize("tpr", ["0.29", "0.57", "0.07", "0.14", "0.28", "0.55", "0.56"])
def test_shares_that_floating_point_rounds_up_do_not_cost_one_more(tpr):
    """0.07 * 100 is 7.000000000000001, and 7 of 100 are enough."""
    anomalous = np.arange(100.0)
    clean = np.arange(100.0) - 0.5
    assert fpr_at_tpr(clean, anomalous, float(tpr)) == float(Fraction(tpr) - Fraction("0.01"))


def test_average_precision_is_the_mean_of_precisions_at_every_anomaly(scores):
    clean, anomalous = scores
    precisions = [
        sum(1 for a in anomalous if a >= t)
        / (sum(1 for a in anomalous if a >= t) + sum(1 for c in clean if c >= t))
        for t in anomalous
    ]
    assert math.isclose(average_precision(clean, anomalous), np.mean(precisions))


def test_scikit_learn_says_the_same(scores):
    labels = np.repeat([0, 1], [40, 27])
    together = np.concatenate(scores)
    assert math.isclose(auroc(*scores), roc_auc_score(labels, together))
    assert math.isclose(average_precision(*scores), average_precision_score(labels, together))
    false, true, _ = roc_curve(labels, together, drop_intermediate=False)
    assert math.isclose(tpr_at_fpr(*scores, 0.3), true[false <= 0.3].max())
    assert math.isclose(fpr_at_tpr(*scores, 0.8), false[true >= 0.8].min())


# --- intervals ------------------------------------------------------------------------------


def test_draws_are_of_inputs_with_replacement(scores):
    """Every draw has as many inputs, and a score that one in n has is drawn once on average."""
    ranking = Ranking.of(*scores)
    (drawn,) = ranking.resampled(4000, seed=3)
    for whole, parts in ((ranking.clean, drawn.clean), (ranking.anomalous, drawn.anomalous)):
        n = whole[0, -1]
        assert (parts[:, -1] == n).all()
        share = np.diff(whole[0]) / n
        counts = np.diff(parts)
        np.testing.assert_allclose(counts.mean(0), n * share, atol=0.3)
        np.testing.assert_allclose(counts.var(0), n * share * (1 - share), atol=1.0)


def test_draws_are_the_same_in_bounded_memory(scores, monkeypatch):
    """A metric of many draws at once is that of each."""
    whole = list(Ranking.of(*scores).resampled(60, seed=1))
    monkeypatch.setattr("mad.metrics.NUMBERS_AT_ONCE", 100)
    parts = list(Ranking.of(*scores).resampled(60, seed=1))
    assert len(whole) == 1 < len(parts)
    assert sum(len(part.clean) for part in parts) == 60
    for metric in METRICS.values():
        for part in (*whole, *parts):
            draws = zip(part.clean, part.anomalous, strict=True)
            alone = [metric(Ranking(clean[None], found[None])).item() for clean, found in draws]
            assert metric(part).tolist() == alone


def test_intervals_are_those_of_drawing_inputs_one_by_one(scores):
    clean, anomalous = scores
    rng = np.random.default_rng(2)
    plain = {"auroc": auroc, "precision": average_precision}
    drawn = {name: [] for name in plain}
    for _ in range(800):
        chosen = rng.choice(clean, len(clean)), rng.choice(anomalous, len(anomalous))
        for name, metric in plain.items():
            drawn[name].append(metric(*chosen))
    found = estimates(clean, anomalous, METRICS, draws=2000, confidence=0.9, seed=4)
    assert list(found) == list(METRICS)
    for name, metric in plain.items():
        estimate = found[name]
        assert estimate.value == metric(clean, anomalous)
        np.testing.assert_allclose(
            [estimate.low, estimate.high], np.quantile(drawn[name], [0.05, 0.95]), atol=0.02
        )
    assert found == estimates(clean, anomalous, METRICS, draws=2000, confidence=0.9, seed=4)


def test_nothing_to_draw_gives_a_point():
    found = estimates(np.zeros(5), np.ones(3), METRICS, draws=50)
    assert all(e.low == e.value == e.high for e in found.values())
    assert [found[name].value for name in METRICS] == [1, 1, 1, 0]


# --- alarms ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Pooled, PerClass])
def test_usual_alarms_are_those_of_exchangeable_inputs(kind):
    """Simulated with scores that are nothing but noise: most counts, and not many fewer."""
    rng = np.random.default_rng(8)
    prediction, new = np.repeat([0, 1], [60, 40]), np.repeat([0, 1], [50, 30])
    calibration = kind.of(rng.normal(size=100), prediction)
    low, high = usual_alarms(calibration, new, alpha=0.1, confidence=0.9)
    counts = []
    for _ in range(3000):
        drawn = kind.of(rng.normal(size=100), prediction)
        counts.append((drawn.p_values(rng.normal(size=80), new) <= 0.1).sum())
    inside = np.mean([low <= count <= high for count in counts])
    assert 0.88 < inside < 0.96
    assert np.mean([count > high for count in counts]) < 0.06
    assert np.mean([count < low for count in counts]) < 0.06


def test_small_classes_may_have_all_alarms_or_none():
    """A class with too few calibration inputs may hold their highest scores, or their lowest."""
    prediction = np.repeat([0, 1], [482, 18])
    new = np.repeat([0, 1], [380, 20])
    for sign in (1, -1):
        bits = np.where(prediction == 1, sign * 100.0, 0) + np.arange(500) / 500
        calibration = PerClass.of(bits, prediction)
        low, high = usual_alarms(calibration, new, alpha=0.05)
        own = sign * 100.0 + (np.arange(20) + 0.5) / 20
        alarms = (calibration.p_values(own, np.ones(20, dtype=int)) <= 0.05).sum()
        assert alarms == (20 if sign > 0 else 0)
        (_, law) = list(alarm_laws(calibration, new, 0.05))[-1]
        assert law[0] == 400
        assert low <= betabinom.ppf(0.5, 380, 24, 459) + alarms <= high


def test_the_only_class_calibrated_is_not_a_small_one():
    """Its inputs are exchangeable with all of the calibration, those of other classes with none."""
    calibration = PerClass.of(np.arange(99.0), np.zeros(99, dtype=np.int64))
    new = np.repeat([0, 7], [30, 20])
    (own, of_own), (others, of_others) = alarm_laws(calibration, new, 0.05)
    assert own.tolist() == (new == 0).tolist()
    assert others.tolist() == (new == 7).tolist()
    assert (of_own, of_others) == ((30, 5, 95), (50, 5, 95))
    low, high = usual_alarms(calibration, new, alpha=0.05)
    assert low == betabinom.ppf(0.025, *of_own)
    assert high > betabinom.ppf(0.975, *of_own)


def test_no_alarms_are_usual_where_nothing_can_be_flagged():
    calibration = Pooled.of(np.arange(19.0), np.zeros(19, dtype=np.int64))
    assert usual_alarms(calibration, np.zeros(500, dtype=np.int64), alpha=0.049) == (0, 0)
    assert usual_alarms(calibration, np.zeros(500, dtype=np.int64), alpha=0.05)[1] > 25
