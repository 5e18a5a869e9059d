"""Sums, means and the like over axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def reduction(function: Callable[[Tensor, list[int], bool], Tensor]) -> Callable[..., Tensor]:
    """An operator that reduces over axes, an input or an attribute; over all where none are given.

    Args:
        function: the same in torch, of a tensor, its axes and whether to keep them.
    """

    def call(
        x: Tensor,
        axes: NDArray[Any] | Sequence[int] | None = None,
        *,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Tensor:
        chosen = [] if axes is None else np.asarray(axes).tolist()
        if not chosen and noop_with_empty_axes:
            return x
        return function(x, chosen or list(range(x.ndim)), bool(keepdims))

    return call


def product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    """The product, which torch takes over one axis at a time."""
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.prod(axis, keep)
    return x


REDUCTIONS = {
    "ReduceMean": reduction(lambda x, axes, keep: x.mean(axes, keep)),
    "ReduceSum": reduction(lambda x, axes, keep: x.sum(axes, keep)),
    "ReduceMax": reduction(torch.amax),
    "ReduceMin": reduction(torch.amin),
    "ReduceProd": reduction(product),
    "ReduceL1": reduction(lambda x, axes, keep: x.abs().sum(axes, keep)),
    "ReduceL2": reduction(lambda x, axes, keep: x.square().sum(axes, keep).sqrt()),
    "ReduceSumSquare": reduction(lambda x, axes, keep: x.square().sum(axes, keep)),
    "ReduceLogSumExp": reduction(torch.logsumexp),
}
