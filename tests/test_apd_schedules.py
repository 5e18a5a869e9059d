"""End points, order and shape of the schedules."""

import itertools
import math

from apd.training import schedules

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


def test_narrowing_falls_in_equal_ratios():
    counts = [schedules.narrowing(t, 8.0, 2.0) for t in STEPS]
    assert (counts[0], counts[-1]) == (8, 2)
    assert math.isclose(counts[500], 4)
    ratios = [b / a for a, b in itertools.pairwise(counts)]
    assert max(ratios) < 1
    assert max(ratios) - min(ratios) < 1e-12


def test_refining_waits_then_falls_in_equal_ratios_then_stays():
    aims = [schedules.refining(t, 0.16, 0.01, 0.6, 0.8) for t in STEPS]
    assert aims[:601] == [0.16] * 601
    assert math.isclose(aims[700], 0.04)
    assert aims[800:] == [0.01] * 201
    assert falling(aims)


def test_refining_may_be_a_step():
    assert schedules.refining(0.6, 0.16, 0.01, 0.6, 0.6) == 0.16
    assert schedules.refining(0.61, 0.16, 0.01, 0.6, 0.6) == 0.01
