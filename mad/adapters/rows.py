"""Rows of numbers, as harnesses for tables hand inputs over, and results without gaps for them."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def scored(detector: Detector, x: NDArray[Any]) -> Result:
    """The scores of rows, of every one of them.

    Raises:
        InputError: one takes the network out of the range of its numbers, or they do not fit it.
    """
    result = detector.score(shaped(x, detector.decomposition))
    if not result.finite.all():
        row = int(np.flatnonzero(~result.finite)[0])
        raise InputError(f"row {row} takes the network out of the range of its numbers")
    return result
