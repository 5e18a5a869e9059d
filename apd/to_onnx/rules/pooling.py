"""Pooling over positions, and over outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from apd.convolution import every, margins
from apd.errors import TargetError
from apd.to_onnx.rules.convolution import transposed
from apd.to_onnx.rules.rule import Rule
from apd.to_onnx.steps import Step
from apd.to_onnx.writer import Writer


def max_pool(w: Writer, step: Step, x: str, *how: Any) -> str:
    """The largest of every window."""
    return w.call("MaxPool", x, **window(*how))


def max_pool_back(w: Writer, step: Step, y: str, g: str, x: str, *how: Any) -> list[str | None]:
    """The gradient goes to the place of the largest, the first where there are several."""
    _, places = w.calls("MaxPool", 2, x, **window(*how))
    flat = w.call("Reshape", x, w.integers(-1))
    nowhere = w.call("Sub", flat, flat)
    indices, updates = (w.call("Reshape", part, w.integers(-1)) for part in (places, g))
    found = w.call("ScatterElements", nowhere, indices, updates, axis=0, reduction="add")
    return [w.call("Reshape", found, w.integers(-1, *step.args[0].shape))]


def window(
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> dict[str, Any]:
    """A pooling's arguments as ONNX's attributes.

    Raises:
        TargetError: windows reach over the edge.
    """
    if ceil_mode:
        raise TargetError("pooling with ceil_mode cannot be exported")
    size = tuple(kernel)
    sides = margins(padding, size)
    return {
        "kernel_shape": list(size),
        "strides": list(every(stride or size, size)),
        "pads": [before for before, _ in sides] + [after for _, after in sides],
        "dilations": list(every(dilation, size)),
    }


def average_pool(w: Writer, step: Step, x: str, *how: Any) -> str:
    """The mean of every window."""
    return w.call("AveragePool", x, **averaged(*how))


def average_pool_back(w: Writer, step: Step, y: str, g: str, x: str, *how: Any) -> list[str | None]:
    """A transposed convolution, every channel by itself, with equal weights."""
    kind = averaged(*how)
    channels, *before = step.args[0].shape
    size = kind["kernel_shape"]
    weight = torch.full((channels, 1, *size), 1 / math.prod(size), dtype=torch.float64)
    padding = kind["pads"][: len(size)]
    arguments = (kind["strides"], padding, [1] * len(size), channels)
    return [transposed(w, g, weight, before, arguments)]


def averaged(
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> dict[str, Any]:
    """The arguments of average pooling as ONNX's attributes.

    Raises:
        TargetError: windows are not all of one size.
    """
    if (any(padding) and not count_include_pad) or divisor is not None:
        raise TargetError("average pooling that does not count all of a window cannot be exported")
    kind = window(kernel, stride, padding, ceil_mode=ceil_mode)
    return {**kind, "count_include_pad": 1}


def mean(w: Writer, step: Step, x: str, axes: Sequence[int], keep: bool = False) -> str:
    """The mean over axes."""
    return w.call("ReduceMean", x, w.integers(*positive(step, axes)), keepdims=int(keep))


def mean_back(
    w: Writer, step: Step, y: str, g: str, x: str, axes: Sequence[int], keep: bool = False
) -> list[str | None]:
    """An equal share for all."""
    over, shape = positive(step, axes), (1, *step.args[0].shape)
    kept = [1 if k in over else size for k, size in enumerate(shape)][1:]
    g = w.call("Reshape", g, w.integers(-1, *kept))
    shares = torch.ones(shape) / math.prod(shape[k] for k in over)
    return [w.call("Mul", g, w.number(shares))]


def positive(step: Step, axes: Sequence[int]) -> list[int]:
    """Axes counted from the first one.

    Raises:
        TargetError: the inputs' is among them.
    """
    found = sorted(axis % (1 + len(step.args[0].shape)) for axis in axes)
    if 0 in found:
        raise TargetError(f"{step.op} over the inputs cannot be exported")
    return found


def whole(w: Writer, step: Step, x: str, sizes: Sequence[int]) -> str:
    """The mean over all positions."""
    return mean(w, step, x, all_positions(step, sizes), keep=True)


def whole_back(
    w: Writer, step: Step, y: str, g: str, x: str, sizes: Sequence[int]
) -> list[str | None]:
    """An equal share for all positions."""
    return mean_back(w, step, y, g, x, all_positions(step, sizes), keep=True)


def all_positions(step: Step, sizes: Sequence[int]) -> list[int]:
    """The axes of positions.

    Raises:
        TargetError: more than one position is left.
    """
    if any(size != 1 for size in sizes):
        raise TargetError(f"{step.op} to {list(sizes)} positions cannot be exported")
    return list(range(2, 1 + len(step.args[0].shape)))


POOLING: Mapping[str, Rule] = {
    "aten.max_pool1d.default": Rule(max_pool, max_pool_back),
    "aten.max_pool2d.default": Rule(max_pool, max_pool_back),
    "aten.avg_pool1d.default": Rule(average_pool, average_pool_back),
    "aten.avg_pool2d.default": Rule(average_pool, average_pool_back),
    "aten.adaptive_avg_pool1d.default": Rule(whole, whole_back),
    "aten.adaptive_avg_pool2d.default": Rule(whole, whole_back),
    "aten.mean.dim": Rule(mean, mean_back),
}
