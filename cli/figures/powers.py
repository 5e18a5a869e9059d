"""Axes over many powers of ten that have a place for zero."""

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

DEEPEST = 1e-8
LINEAR = 0.6


def bottom(values: NDArray[np.float64]) -> float:
    """Where powers of ten may end: at the least positive number, and not endlessly deep.

    0 where no number is positive.
    """
    finite = values[np.isfinite(values) & (values > 0)]
    return max(float(finite.min()), DEEPEST * float(finite.max())) if len(finite) else 0.0


def by_powers(axis: Axes, values: NDArray[np.float64], least: float) -> None:
    """Make a y axis logarithmic down to the least number; what is below it, is near a line at 0.

    Args:
        axis: what to change.
        values: that are drawn, none negative.
        least: 0 where all of them are 0.
    """
    if least == 0:
        axis.set_ylim(-0.05, 1)
    elif bool((values[np.isfinite(values)] >= least).all()):
        axis.set_yscale("log")
    else:
        axis.set_yscale("symlog", linthresh=least, linscale=LINEAR)
        axis.axhline(0, color="black", lw=0.8, zorder=0)
        axis.set_ylim(bottom=-least / 5)
