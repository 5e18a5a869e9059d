"""Drift: the statistics by loops, their p-values by other roads, false verdicts and power."""

import math

import numpy as np
import pytest
from scipy.stats import hypergeom, ks_2samp

import mad
from mad.calibration import Pooled
from mad.drift import DRAWS, Drift, Tally, distances, exchanged, kolmogorov

ONE_CLASS = np.zeros(10_000, dtype=int)


def drift(calibration: np.ndarray, bits: np.ndarray) -> Drift:
    """Of scores alone, everything being of one class."""
    m, n = len(calibration), len(bits)
    return Tally.of(Pooled.of(calibration, ONE_CLASS[:m]), bits, ONE_CLASS[:n]).drift()


def shares(calibration: list[int], batch: list[int]) -> Drift:
    """Of predictions alone, given how often each class is there."""
    trusted, seen = (np.repeat(np.arange(len(k)), k) for k in (calibration, batch))
    level = Pooled.of(np.zeros(len(trusted)), trusted)
    return Tally.of(level, np.zeros(len(seen)), seen).drift()


def largest_gap(calibration: np.ndarray, bits: np.ndarray) -> tuple[float, float]:
    """The largest excess of the calibration's share at or below a score, and of the batch's."""
    gaps = [
        sum(c <= s for c in calibration) / len(calibration) - sum(b <= s for b in bits) / len(bits)
        for s in [*calibration, *bits]
    ]
    return max(gaps), -min(gaps)


SIZES = [(19, 1), (19, 40), (50, 7), (60, 60), (31, 200)]


@pytest.mark.parametrize("places", [9, 0], ids=["continuous", "ties"])
@pytest.mark.parametrize(("m", "n"), SIZES)
def test_the_statistic_is_the_largest_gap_and_its_sign_the_direction(m, n, places):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        calibration = rng.normal(size=m).round(places)
        bits = rng.normal(0.5 * (-1) ** seed, 1, size=n).round(places)
        found = drift(calibration, bits)
        higher, lower = largest_gap(calibration, bits)
        assert found.inputs == n
        assert found.statistic == pytest.approx(max(higher, lower), abs=1e-12)
        expected = "more surprising" if higher > lower else "more typical"
        assert abs(higher - lower) < 1e-9 or found.direction == expected


@pytest.mark.parametrize(("m", "n"), SIZES[1:])
def test_p_values_are_near_the_exact_ones(m, n):
    """Those of all arrangements of the two samples, which scipy counts."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        calibration, bits = rng.normal(size=m), rng.normal(0.05 * seed, 1, size=n)
        exact = ks_2samp(calibration, bits, method="exact").pvalue
        assert 0.93 * exact <= drift(calibration, bits).p_value <= min(2 * exact, exact + 0.1)


@pytest.mark.parametrize("alpha", [0.01, 0.05])
def test_chance_is_called_drift_no_more_often_than_promised(alpha):
    """By counting arrangements of the samples below the least statistic that is called so."""
    for m, n in [(19, 3), (192, 10), (97, 31), (60, 60), (500, 7)]:
        steps = {abs(i * n - j * m) for i in range(m + 1) for j in range(n + 1)}
        called = next(s for s in sorted(steps) if kolmogorov(s / (m * n), m, n) <= alpha)
        inside = [1] + n * [0]
        for i in range(m + 1):
            for j in range(n + 1):
                before = inside[j - 1] if j else 0
                inside[j] = (inside[j] + before) * (abs(i * n - j * m) < called)
                if i == j == 0:
                    inside[0] = 1
        assert 1 - inside[n] / math.comb(m + n, n) <= alpha, (m, n)


def test_one_input_has_twice_its_conformal_p_value():
    calibration = np.arange(99.0)
    for below in (0, 3, 90, 99):
        p = min(below + 1, 99 - below + 1) / 100
        assert drift(calibration, np.array([below - 0.5])).p_value == pytest.approx(2 * p)


def test_reference_like_batches_are_seldom_called_drifted():
    """400 pairs of samples at every pair of sizes; within four standard deviations of alpha."""
    rng = np.random.default_rng(0)
    for m, n in [(19, 3), (40, 300), (192, 30), (192, 192), (192, 2000), (1000, 100)]:
        p = np.array([drift(rng.normal(size=m), rng.normal(size=n)).p_value for _ in range(400)])
        for alpha in (0.01, 0.05, 0.2):
            assert (p <= alpha).mean() <= alpha + 4 * math.sqrt(alpha * (1 - alpha) / 400)
        assert (p <= 0.5).mean() > 0.3


@pytest.mark.parametrize(
    ("shift", "scale", "direction"),
    [(0.6, 1, "more surprising"), (-0.6, 1, "more typical"), (0, 3, None), (0, 0.3, None)],
)
def test_a_shift_of_the_whole_batch_is_found(shift, scale, direction):
    """Also where the scores are as high as usual on average, but spread otherwise."""
    rng = np.random.default_rng(1)
    batches = [
        drift(rng.normal(size=192), shift + scale * rng.normal(size=150)) for _ in range(100)
    ]
    assert np.mean([found.drifted(0.01) for found in batches]) > 0.95
    if direction is not None:
        assert np.mean([found.direction == direction for found in batches]) > 0.98


def test_a_few_anomalies_move_the_statistic_by_their_share_at_most():
    rng = np.random.default_rng(2)
    for n, k in [(50, 1), (200, 10), (1000, 20)]:
        calibration, bits = rng.normal(size=192), rng.normal(size=n)
        before = drift(calibration, bits).statistic
        for odd in (1e6, -1e6, calibration[0]):
            bits[:k] = odd
            assert abs(drift(calibration, bits).statistic - before) <= k / n + 1e-12


def test_a_handful_of_anomalies_is_not_drift():
    """Two in a hundred, beyond all calibration scores; half of the batch is."""
    rng = np.random.default_rng(3)

    def called(odd: int) -> float:
        verdicts = []
        for _ in range(300):
            bits = np.r_[rng.normal(size=1000 - odd), np.full(odd, 50.0)]
            verdicts.append(drift(rng.normal(size=192), bits).drifted(0.01))
        return float(np.mean(verdicts))

    assert called(20) <= 0.04
    assert called(500) == 1


# --- predictions ----------------------------------------------------------------------------


def test_shares_are_counted_and_half_their_differences_added_up():
    found = shares([10, 30, 0], [5, 0, 20])
    assert found.shares == {0: (0.2, 0.25), 1: (0.0, 0.75), 2: (0.8, 0.0)}
    assert found.share_statistic == pytest.approx((0.05 + 0.75 + 0.8) / 2)
    assert found.shifted(1 / (DRAWS + 1))


@pytest.mark.parametrize("batch", [[9, 11], [2, 18], [14, 6], [0, 20]])
def test_the_p_value_of_two_classes_is_that_of_fishers_arrangements(batch):
    trusted = [20, 40]
    n, total = sum(batch), np.add(trusted, batch)
    observed = shares(trusted, batch)
    exact = 0.0
    for k in range(n + 1):
        gap = abs(k / n - (total[0] - k) / (total.sum() - n))
        if gap >= observed.share_statistic - 1e-12:
            exact += hypergeom(total.sum(), total[0], n).pmf(k)
    spread = 4 * math.sqrt(exact * (1 - exact) / DRAWS)
    assert abs(observed.share_p_value - exact) <= spread + 2 / DRAWS


def test_batches_of_the_same_classes_are_seldom_called_shifted():
    """Many classes, most of them rare."""
    rng = np.random.default_rng(4)
    probability = np.r_[0.5, np.full(20, 0.025)]
    p = []
    for _ in range(300):
        trusted, batch = (rng.multinomial(size, probability).tolist() for size in (100, 60))
        p.append(shares(trusted, batch).share_p_value)
    for alpha in (0.01, 0.05, 0.2):
        share = np.mean(np.array(p) <= alpha)
        assert share <= alpha + 4 * math.sqrt(alpha * (1 - alpha) / 300)
    assert shares([50, *[3] * 20], [90, *[0] * 20]).shifted(0.01)


def test_a_batch_of_more_than_can_be_drawn_from_has_its_shares_compared():
    few = exchanged(np.array([6 * 10**4, 4 * 10**4]), np.array([52, 48]))
    many = exchanged(np.array([6 * 10**12, 4 * 10**12]), np.array([52, 48]))
    assert 0.05 < many < 0.2
    assert abs(many - few) < 0.03
    assert exchanged(np.array([10**10, 10]), np.array([100, 92])) == 1 / (DRAWS + 1)


def test_counts_of_many_classes_are_drawn_in_parts(monkeypatch):
    """To the same p-value, as the draws are the same ones."""
    rng = np.random.default_rng(6)
    first, second = rng.poisson(2.0, 300), rng.poisson(2.1, 300)
    whole, sizes = exchanged(first, second), []
    monkeypatch.setattr("mad.drift.distances", lambda a, b: sizes.append(a.size) or distances(a, b))
    monkeypatch.setattr("mad.drift.NUMBERS_AT_ONCE", 7000)
    assert exchanged(first, second) == whole
    assert 0.001 < whole < 1
    assert max(sizes) <= 7000
    assert sum(sizes) == 300 * (DRAWS + 1)


def test_one_class_cannot_shift():
    assert shares([30], [7]).share_p_value == 1


# --- tallies --------------------------------------------------------------------------------


def test_the_tally_of_a_stream_is_that_of_its_parts():
    rng = np.random.default_rng(5)
    calibration = Pooled.of(rng.normal(size=40).round(1), rng.integers(0, 3, 40))
    bits, prediction = rng.normal(size=100).round(1), rng.integers(0, 4, 100)
    whole = Tally.of(calibration, bits, prediction)
    parts = [Tally.of(calibration, bits[k], prediction[k]) for k in (slice(0, 33), slice(33, 100))]
    assert (parts[0] + parts[1]).drift() == whole.drift()
    order = rng.permutation(100)
    assert Tally.of(calibration, bits[order], prediction[order]).drift() == whole.drift()
    assert whole.p_value() == whole.drift().p_value < 1


def test_nothing_scored_is_refused():
    with pytest.raises(mad.InputError, match="nothing to compare"):
        drift(np.zeros(19), np.zeros(0))
