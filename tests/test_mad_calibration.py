"""Conformal p-values, pooled and per class, and the budgets for flags: counts and guarantees."""

import math
from fractions import Fraction

import numpy as np
import oracles
import pytest

import mad
from mad.calibration import (
    CALIBRATIONS,
    FEWEST_CALIBRATION,
    PerClass,
    Pooled,
    alpha_for,
    attainable,
    conformal_p_values,
    discovery_alpha,
    fewest_discoveries,
    highest_usual,
)


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


# --- per class ------------------------------------------------------------------------------

# calibration inputs by class: large ones, the largest small one, the smallest large one, none of 4
COUNTS = {0: 40, 1: FEWEST_CALIBRATION - 1, 2: FEWEST_CALIBRATION, 3: 2, 5: 31}


def drawn(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores with ties and NaN, and predictions, of classes that are there and that are not."""
    rng = np.random.default_rng(seed)
    bits = rng.normal(size=n).round(1)
    bits[::17] = np.nan
    return bits, rng.integers(0, 6, n)


@pytest.fixture(scope="module")
def classes() -> np.ndarray:
    return np.random.default_rng(1).permutation(np.repeat(list(COUNTS), list(COUNTS.values())))


@pytest.fixture(scope="module")
def scores(classes) -> np.ndarray:
    return np.random.default_rng(2).normal(classes).round(1)


def test_a_calibration_keeps_scores_and_classes_together(scores, classes):
    for kind in CALIBRATIONS.values():
        calibration = kind.of(scores, classes)
        assert (np.diff(calibration.bits) >= 0).all()
        pairs = zip(calibration.bits, calibration.prediction, strict=True)
        assert sorted(pairs) == sorted(zip(scores, classes, strict=True))


def test_p_values_per_class_are_counts_within_the_class_or_within_all(scores, classes):
    bits, prediction = drawn(3, 200)
    p = PerClass.of(scores, classes).p_values(bits, prediction)
    assert set(prediction) == set(range(6))
    for n, k in enumerate(prediction):
        enough = COUNTS.get(k, 0) >= 19
        own = [s for s, other in zip(scores, classes, strict=True) if other == k or not enough]
        np.testing.assert_equal(p[n], oracles.p_value(bits[n], np.array(own)))


def test_pooled_p_values_ignore_the_class(scores, classes):
    bits, prediction = drawn(4, 100)
    p = Pooled.of(scores, classes).p_values(bits, prediction)
    np.testing.assert_array_equal(p, [oracles.p_value(b, scores) for b in bits])


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_the_finest_p_value_is_that_of_infinite_bits(scores, classes, name):
    calibration = CALIBRATIONS[name].of(scores, classes)
    prediction = np.arange(6)
    found = calibration.p_values(np.full(6, np.inf), prediction)
    np.testing.assert_array_equal(calibration.finest(prediction), found)
    assert calibration.finest_alpha == found.min()
    assert (found.max() > found.min()) == (name == "per-class")


def test_where_every_class_is_large_no_p_value_is_finer_than_its_largest_class_allows():
    calibration = PerClass.of(np.arange(65.0), np.repeat([0, 1, 2], [20, 25, 20]))
    assert calibration.finest_alpha == 1 / 26
    assert calibration.p_values(np.full(3, np.inf), np.arange(3)).min() == 1 / 26


def test_of_classes_without_calibration_inputs_more_than_alpha_is_flagged_but_not_twice_that():
    """A class of one in a hundred inputs, all more surprising than any other."""
    rng, alpha, shares = np.random.default_rng(0), 0.02, []
    for _ in range(3000):
        rare = rng.random(99 + 400) < 0.01
        bits = rng.random(99 + 400) + rare
        if rare[:99].any():
            continue
        calibration = PerClass.of(bits[:99], rare[:99].astype(int))
        shares.append(np.mean(calibration.p_values(bits[99:], rare[99:].astype(int)) <= alpha))
    promised = PerClass.of(bits[:99], rare[:99].astype(int)).flagged_at_most(alpha)
    assert alpha < np.mean(shares) < promised == 2 * alpha
    assert CALIBRATIONS["pooled"].of(bits, rare.astype(int)).flagged_at_most(alpha) == alpha


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_no_inputs_have_no_p_values(scores, classes, name):
    nothing = np.zeros(0), np.zeros(0, dtype=int)
    assert len(CALIBRATIONS[name].of(scores, classes).p_values(*nothing)) == 0


def test_a_calibration_that_is_not_there_is_refused(small_run):
    with pytest.raises(mad.InputError, match="'pooled' and 'per-class'"):
        mad.Detector.fit(*small_run, calibration="mondrian")


def simulated(kind: str, trials: int) -> tuple[np.ndarray, np.ndarray]:
    """p-values of inputs exchangeable with their calibration, and their classes.

    Class 2 is rare and scores highest: of 100 inputs 55, 40 and 5, on average.
    """
    rng = np.random.default_rng(5)
    p, classes = np.empty((trials, 10)), np.empty((trials, 10), dtype=int)
    for trial in range(trials):
        prediction = rng.choice(3, 110, p=[0.55, 0.4, 0.05])
        bits = rng.normal(size=110) * (1 + prediction) + prediction
        calibration = CALIBRATIONS[kind].of(bits[:100], prediction[:100])
        p[trial], classes[trial] = (
            calibration.p_values(bits[100:], prediction[100:]),
            prediction[100:],
        )
    return p.flatten(), classes.flatten()


def test_per_class_every_large_class_has_its_guarantee_and_small_ones_one_together():
    trials = 2000
    p, classes = simulated("per-class", trials)
    pooled, _ = simulated("pooled", trials)
    for alpha in (0.05, 0.1, 0.3):
        slack = 4 * math.sqrt(alpha / trials)
        for k in (0, 1):
            assert (p[classes == k] <= alpha).mean() <= alpha + slack
            assert (p[classes == k] <= alpha).mean() >= alpha - 1 / 20 - slack
        assert ((p <= alpha) & (classes == 2)).mean() <= alpha + slack
        assert (p <= alpha).mean() <= 2 * alpha
        assert (pooled <= alpha).mean() <= alpha + slack
        assert (pooled[classes == 0] <= alpha).mean() < alpha / 2
        assert (pooled[classes == 2] <= alpha).mean() > 1.5 * alpha


# --- budgets --------------------------------------------------------------------------------


def test_an_alarm_budget_is_an_alpha():
    assert alpha_for(3, 300) == 0.01
    assert alpha_for(0.5, 1e6) == 5e-7
    assert alpha_for(3, 300, "per-class") == 0.005
    with pytest.raises(mad.InputError, match="no calibration 'each'"):
        alpha_for(3, 300, "each")


@pytest.mark.parametrize("m", [19, 99, 999_999])
def test_as_many_p_values_are_attained_as_are_flagged(m):
    for k in (1, 3, 7, m):
        assert attainable(m, k / (m + 1)) == k
        assert attainable(m, np.nextafter(k / (m + 1), 0)) == k - 1
    assert attainable(m, 1.0) == m + 1


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.3, 0.95, 1.0])
def test_above_the_highest_usual_score_and_nowhere_else_inputs_are_flagged(alpha):
    """Among scores that are equal, too; nowhere at 0.01, and everywhere at 1."""
    calibration = np.sort(np.random.default_rng(0).normal(size=39).round(1))
    assert len(set(calibration)) < 39
    bits = np.concatenate([calibration, np.random.default_rng(1).normal(size=60), [-99.0, 99.0]])
    expected = np.array([oracles.p_value(score, calibration) <= alpha for score in bits])
    highest = highest_usual(calibration, alpha)
    assert (bits > highest).tolist() == expected.tolist()
    assert np.isinf(highest) == (alpha in (0.01, 1.0))


def test_fewer_discoveries_than_the_fewest_there_are_never():
    calibration, bits = np.arange(99.0), np.full(40, -1.0)
    fewest = fewest_discoveries(40, 0.01, 0.05)
    assert fewest == 8
    for odd in range(1, 12):
        bits[:odd] = 1000.0
        alpha = discovery_alpha(conformal_p_values(bits, calibration), 0.05)
        assert (alpha > 0) == (odd >= fewest)
    assert fewest_discoveries(1000, 0.001, 0.1) == 10
    assert [fewest_discoveries(5, 0.01, fdr) for fdr in (0.0, 1e-310, 0.009)] == [6, 6, 6]


@pytest.mark.parametrize("budget", [(0, 10), (-1, 10), (10, 10), (11, 10), (1, np.inf), (1, 0.5)])
def test_an_impossible_alarm_budget_is_refused(budget):
    with pytest.raises(mad.InputError, match="no budget"):
        alpha_for(*budget)


def discoveries(counts: list[int], m: int, fdr: Fraction) -> list[bool]:
    """Benjamini and Hochberg's definition, in exact fractions: p-values are counts / (m + 1)."""
    p = [Fraction(count, m + 1) for count in counts]
    n = len(p)
    passing = [k for k in range(1, n + 1) if sorted(p)[k - 1] <= k * fdr / n]
    return [bool(passing) and value <= sorted(p)[max(passing) - 1] for value in p]


@pytest.mark.parametrize("fdr", ["1/10", "3/20", "3/10", "1"])
@pytest.mark.parametrize("m", [19, 99, 192])
def test_discoveries_are_benjamini_and_hochbergs(m, fdr):
    rng = np.random.default_rng(m)
    found = []
    for n in (1, 2, 10, 50, 133):
        for odd in (0, n // 3, n):
            counts = np.r_[rng.integers(1, 4, odd), rng.integers(1, m + 2, n - odd)]
            p = counts / (m + 1)
            expected = discoveries(counts.tolist(), m, Fraction(fdr))
            alpha = discovery_alpha(rng.permutation(np.r_[p, np.nan]), float(Fraction(fdr)))
            assert (p <= alpha).tolist() == expected
            found += expected
    assert any(found)


@pytest.mark.parametrize("fdr", ["1/20", "1/10", "1/5", "3/10"])
def test_a_p_value_on_the_line_is_a_discovery(fdr):
    """k p-values of exactly k fdr / n, and the others 1: equal fractions, unequal floats."""
    on_the_line = 0
    for n in range(1, 40):
        for k in range(1, n + 1):
            count = k * Fraction(fdr) / n * 200
            if count.denominator == 1:
                p = np.r_[np.full(k, int(count) / 200), np.ones(n - k)]
                assert (p <= discovery_alpha(p, float(Fraction(fdr)))).sum() == k
                on_the_line += 1
    assert on_the_line > 50


def test_no_p_values_are_no_discovery():
    assert discovery_alpha(np.array([]), 0.1) == 0
    assert discovery_alpha(np.array([np.nan, np.nan]), 0.1) == 0


def test_of_discoveries_against_one_calibration_few_are_false():
    trials, nulls, odd, fdr = 1500, 30, 15, 0.2
    rng = np.random.default_rng(6)
    false, power = np.empty(trials), np.empty(trials)
    for trial in range(trials):
        calibration = np.sort(rng.normal(size=99))
        bits = np.r_[rng.normal(size=nulls), rng.normal(2.5, 1, odd)]
        p = conformal_p_values(bits, calibration)
        found = p <= discovery_alpha(p, fdr)
        false[trial] = found[:nulls].sum() / max(1, found.sum())
        power[trial] = found[nulls:].mean()
    assert false.mean() <= fdr * nulls / (nulls + odd) + 4 * false.std() / math.sqrt(trials)
    assert false.mean() > 0.02
    assert power.mean() > 0.5
