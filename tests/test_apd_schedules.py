"""End points, order and shape of the schedules."""

import itertools
import math

import pytest

from apd import schedules

STEPS = [k / 1000 for k in range(1001)]


def falling(values) -> bool:
    return all(a >= b for a, b in itertools.pairwise(values))


def test_learning_rate_rises_in_a_line_and_falls_along_a_cosine():
    rates = [schedules.learning_rate(t, 0.1) for t in STEPS]
    assert rates[0] == 0
    assert math.isclose(rates[50], 0.5)
    assert rates[100] == max(rates) == 1
    assert math.isclose(rates[550], 0.5)
    assert abs(rates[-1]) < 1e-12
    assert falling(rates[100:])
    assert falling(rates[100::-1])


def test_learning_rate_without_warm_up_starts_at_its_peak():
    assert schedules.learning_rate(0.0, 0.0) == 1


def test_release_is_one_then_a_line_then_zero():
    penalties = [schedules.release(t, 0.4, 0.6) for t in STEPS]
    assert penalties[:401] == [1] * 401
    assert penalties[600:] == [0] * 401
    assert math.isclose(penalties[500], 0.5)
    assert math.isclose(penalties[450], 0.75)
    assert falling(penalties)


def test_release_may_be_a_step():
    assert schedules.release(0.59, 0.6, 0.6) == 1
    assert schedules.release(0.61, 0.6, 0.6) == 0


def active(progress: float) -> float:
    return schedules.active(progress, 8.0, 2.0, 3.0, narrow_by=0.3, loosen_at=0.6)


def test_active_falls_to_tight_stays_and_jumps_to_loose():
    counts = [active(t) for t in STEPS]
    assert counts[0] == 8
    assert counts[300:601] == [2] * 301
    assert counts[601:] == [3] * 400
    assert falling(counts[:601])


def test_active_falls_in_equal_ratios():
    assert math.isclose(active(0.15), math.sqrt(8 * 2))
    assert math.isclose(active(0.1) / active(0.05), active(0.2) / active(0.15))


def test_active_without_narrowing_is_tight_from_the_start():
    assert schedules.active(0.0, 8.0, 2.0, 3.0, narrow_by=0.0, loosen_at=0.6) == 2


@pytest.mark.parametrize("progress", [0.0, 0.3, 0.6, 1.0])
def test_a_relaxation_of_one_keeps_the_count(progress):
    assert schedules.active(progress, 2.0, 2.0, 2.0, 0.3, 0.6) == 2
