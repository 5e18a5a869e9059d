"""The distributions of scores and of p-values, from what was gathered."""

from __future__ import annotations

from collections import Counter

import numpy as np

from mad.calibration import Calibration, Pooled, highest_usual
from mad.reports.gathered import Gathered, edge, places
from mad.reports.model import Histogram, PValues

MOST_BINS = 60
MOST_POINTS = 200


def histogram(gathered: Gathered, alpha: float | None) -> Histogram:
    """The scores of the batch and of the calibration, and where flags begin."""
    calibration = gathered.calibration
    usual = None if calibration is None else Counter[int](places(calibration.bits).tolist())
    held = {*gathered.places, *(usual or ())} or {0}
    width = -(-(max(held) + 1 - min(held)) // MOST_BINS)
    first, last = min(held) // width, max(held) // width
    return Histogram(
        edges=tuple(edge(k * width) for k in range(first, last + 2)),
        batch=merged(gathered.places, first, last, width),
        calibration=None if usual is None else merged(usual, first, last, width),
        threshold=None if alpha is None or calibration is None else threshold(calibration, alpha),
    )


def merged(counts: Counter[int], first: int, last: int, width: int) -> tuple[int, ...]:
    """Counts in bins so many times as wide."""
    wide = Counter[int]()
    for place, count in counts.items():
        wide[place // width] += count
    return tuple(wide[k] for k in range(first, last + 1))


def threshold(calibration: Calibration, alpha: float) -> float | None:
    """The bits above which an input is flagged; None where no one number says it."""
    if not isinstance(calibration, Pooled):
        return None
    highest = highest_usual(calibration.bits, alpha)
    return highest if np.isfinite(highest) else None


def p_values(gathered: Gathered) -> PValues:
    """The p-values in order, against the share of inputs that have so small a one."""
    p = sorted(p for p in gathered.p_values if p > 0)
    share = np.cumsum([gathered.p_values[value] for value in p]) / max(gathered.scored, 1)
    shown = spread(np.asarray(p))
    return PValues(p=tuple(p[k] for k in shown), share=tuple(float(share[k]) for k in shown))


def spread(p: np.ndarray) -> list[int]:
    """Which of many rising numbers to show: the ends, and others at even ratios."""
    if len(p) <= MOST_POINTS:
        return list(range(len(p)))
    wanted = np.geomspace(p[0], p[-1], MOST_POINTS)
    return np.unique(np.searchsorted(p, wanted).clip(max=len(p) - 1)).tolist()
