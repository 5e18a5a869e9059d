"""Which trusted inputs profile and which calibrate, and which of them are the same."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped
from numpy.typing import NDArray

from mad.calibration import FEWEST_CALIBRATION, CalibrationWarning
from mad.checks import as_type

PROFILE_SHARE = 0.6
FEWEST_PROFILE = 20
MOST_REPEATED = 0.05


def parted(rows: Int[np.ndarray, "n"], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows that profile and those that calibrate, by a seeded draw."""
    drawn = np.random.default_rng(seed).permutation(rows)
    count = round(PROFILE_SHARE * len(rows))
    return drawn[:count], drawn[count:]


def enough(first: Int[np.ndarray, "n"], second: Int[np.ndarray, "m"]) -> bool:
    """Whether there are as many rows to profile and to calibrate as it takes."""
    return len(first) >= FEWEST_PROFILE and len(second) >= FEWEST_CALIBRATION


def warn_of_repeated(
    profiled: Shaped[np.ndarray, "p *shape"], calibrated: Shaped[np.ndarray, "m *shape"]
) -> None:
    """Say where many calibrated inputs are profiled too.

    Warns:
        CalibrationWarning: more than `MOST_REPEATED` are.
    """
    known = set(values(profiled))
    count = sum(row in known for row in values(calibrated))
    if count > MOST_REPEATED * len(calibrated):
        warnings.warn(
            f"{count} of {len(calibrated)} calibrated inputs are profiled too, as the reference "
            "repeats them: p-values are too small for inputs that do not repeat as often",
            CalibrationWarning,
            stacklevel=3,
        )


def unknown(
    x: Shaped[np.ndarray, "n *shape"], held: Shaped[np.ndarray, "m *shape"], dtype: np.dtype[Any]
) -> Int[np.ndarray, "some"]:
    """The rows that are not, value for value in a type, among others; of equal ones the first."""
    first = {row: n for n, row in reversed(list(enumerate(values(as_type(x, dtype)))))}
    known = set(values(as_type(held, dtype)))
    return np.array(sorted(n for row, n in first.items() if row not in known), dtype=np.int64)


def coarser(given: np.dtype[Any], held: np.dtype[Any]) -> np.dtype[Any]:
    """The type that tells fewer floats apart; whole numbers are the same in any."""
    return given if given.kind == held.kind == "f" and given.itemsize < held.itemsize else held


def values(x: Shaped[np.ndarray, "n *shape"]) -> list[bytes]:
    """What equal rows have in common, whatever the sign of zeros."""
    return [row.tobytes() for row in x + x.dtype.type(0)]
