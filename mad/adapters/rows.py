"""Rows of numbers, as harnesses for tables hand inputs over, and results without gaps for them."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mad.checks import as_type
from mad.decomposition import Decomposition
from mad.detector import Detector
from mad.errors import InputError
from mad.result import Result


def shaped(x: NDArray[Any], decomposition: Decomposition) -> NDArray[Any]:
    """Rows in the shape of one input each, where their numbers are as many; else as they are.

    What does not fit is for `mad.Detector` to refuse.
    """
    shape = tuple(decomposition.input_shape)
    return x.reshape(len(x), *shape) if prod(x.shape[1:]) == prod(shape) else x


def as_taken(x: NDArray[Any], decomposition: Decomposition) -> NDArray[Any]:
    """Rows in their shape; whole numbers as floats, unless that is what the network refuses."""
    rows = shaped(x, decomposition)
    if rows.dtype.kind == "f":
        return rows
    floats = rows.astype(np.float64)
    try:
        decomposition.explain(floats[:1], "predicted")
    except Exception:
        return rows
    return floats


def scored(detector: Detector, x: NDArray[Any]) -> Result:
    """The scores of rows, of every one of them.

    Raises:
        InputError: one takes the network out of the range of its numbers, or they do not fit it.
    """
    if x.dtype.kind != "f":
        x = as_type(x, detector.profiled.dtype, "X")
    result = detector.score(shaped(x, detector.decomposition))
    if not result.finite.all():
        row = int(np.flatnonzero(~result.finite)[0])
        raise InputError(f"row {row} takes the network out of the range of its numbers")
    return result
