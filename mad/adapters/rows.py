"""Flattened inputs, as harnesses for tables hand them over."""

from __future__ import annotations

from math import prod
from typing import Any

from numpy.typing import NDArray

from mad.decomposition import Decomposition


def shaped(x: NDArray[Any], decomposition: Decomposition) -> NDArray[Any]:
    """Rows in the shape of one input each, where their numbers are as many; else as they are.

    What does not fit is for `mad.Detector` to refuse.
    """
    shape = tuple(decomposition.input_shape)
    return x.reshape(len(x), *shape) if prod(x.shape[1:]) == prod(shape) else x
