"""What moves a window over positions: convolutions and pooling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from apd.errors import TargetError

Sides = list[tuple[int, int]]


def sides_of(
    x: Tensor,
    kernel: Sequence[int],
    *,
    auto_pad: str,
    pads: Sequence[int] | None,
    strides: Sequence[int],
    dilations: Sequence[int],
) -> Sides:
    """How much is added before and after the positions in every direction."""
    d = len(kernel)
    if auto_pad in ("NOTSET", "VALID"):
        given = pads or [0] * (2 * d)
        return list(zip(given[:d], given[d:], strict=True))
    sides: Sides = []
    for size, k, stride, gap in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        steps = -(-size // stride)
        missing = max(0, (steps - 1) * stride + gap * (k - 1) + 1 - size)
        less, more = missing // 2, missing - missing // 2
        sides.append((less, more) if auto_pad == "SAME_UPPER" else (more, less))
    return sides


def padded(x: Tensor, sides: Sides, value: float) -> tuple[Tensor, list[int]]:
    """X, and the padding left to be done; what is not alike on both sides is done here."""
    if all(before == after for before, after in sides):
        return x, [before for before, _ in sides]
    flat = [side for pair in reversed(sides) for side in pair]
    return F.pad(x, flat, value=value), [0] * len(sides)


def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """A convolution in one to three directions."""
    kernel = tuple(weight.shape[2:])
    steps, gaps = list(strides or [1] * len(kernel)), list(dilations or [1] * len(kernel))
    sides = sides_of(x, kernel, auto_pad=auto_pad, pads=pads, strides=steps, dilations=gaps)
    x, padding = padded(x, sides, 0.0)
    convolve = (F.conv1d, F.conv2d, F.conv3d)[len(kernel) - 1]
    return convolve(x, weight, bias, steps, padding, gaps, group)


def max_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    storage_order: int = 0,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """The largest of every window; `storage_order` is about an output that is not supported."""
    kernel = list(kernel_shape)
    steps, gaps = list(strides or [1] * len(kernel)), list(dilations or [1] * len(kernel))
    sides = sides_of(x, kernel, auto_pad=auto_pad, pads=pads, strides=steps, dilations=gaps)
    x, padding = padded(x, sides, float("-inf"))
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1]
    return pool(x, kernel, steps, padding, gaps, ceil_mode=bool(ceil_mode))


def average_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """The mean of every window.

    Raises:
        TargetError: the padding differs between sides and does not count.
    """
    kernel = list(kernel_shape)
    steps = list(strides or [1] * len(kernel))
    ones = [1] * len(kernel)
    sides = sides_of(x, kernel, auto_pad=auto_pad, pads=pads, strides=steps, dilations=ones)
    x, padding = padded(x, sides, 0.0)
    if any(before != after for before, after in sides) and not count_include_pad:
        raise TargetError("AveragePool with padding on one side that does not count is unsupported")
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1]
    return pool(x, kernel, steps, padding, bool(ceil_mode), bool(count_include_pad))


def global_average_pool(x: Tensor) -> Tensor:
    """The mean over all positions."""
    return x.mean(list(range(2, x.ndim)), keepdim=True)


def global_max_pool(x: Tensor) -> Tensor:
    """The largest over all positions."""
    return torch.amax(x, list(range(2, x.ndim)), keepdim=True)


WINDOWS = {
    "Conv": conv,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
}
