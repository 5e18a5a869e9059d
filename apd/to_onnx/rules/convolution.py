"""Convolutions; a gradient goes back through one as through its transpose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from apd.convolution import every, margins
from apd.to_onnx.rules.rule import Rule, constant
from apd.to_onnx.steps import Step
from apd.to_onnx.writer import Writer


def conv(
    w: Writer, step: Step, x: str, weight: Tensor | str, bias: Tensor | None = None, *how: Any
) -> str:
    """A convolution."""
    kernels = constant(step, weight)
    biases = [] if bias is None else [w.number(bias)]
    return w.call("Conv", x, w.number(kernels), *biases, **geometry(kernels, *how))


def conv_back(
    w: Writer,
    step: Step,
    y: str,
    g: str,
    x: str,
    weight: Tensor,
    bias: Tensor | None = None,
    *how: Any,
) -> list[str | None]:
    """The transposed convolution, onto as many positions as there were."""
    return [transposed(w, g, weight, step.args[0].shape[1:], how)]


def transposed(
    w: Writer, g: str, weight: Tensor, positions: Sequence[int], how: Sequence[Any]
) -> str:
    """The gradient at what a convolution was applied to.

    Args:
        w: the writer.
        g: the gradient at its result.
        weight: its weight.
        positions: how many it was applied to, in every direction.
        how: its other arguments.
    """
    kind = geometry(weight, *how)
    d = len(positions)
    padded = [positions[k] + kind["pads"][k] + kind["pads"][d + k] for k in range(d)]
    reach = [
        gap * (size - 1) for gap, size in zip(kind["dilations"], weight.shape[2:], strict=True)
    ]
    left = [(padded[k] - reach[k] - 1) % kind["strides"][k] for k in range(d)]
    return w.call("ConvTranspose", g, w.number(weight), **kind, output_padding=left)


def geometry(
    weight: Tensor,
    stride: Sequence[int] = (1,),
    padding: Sequence[int] | str = (0,),
    dilation: Sequence[int] = (1,),
    groups: int = 1,
) -> dict[str, Any]:
    """A convolution's arguments as ONNX's attributes."""
    kernel = tuple(weight.shape[2:])
    steps, gaps = every(stride, kernel), every(dilation, kernel)
    sides = margins(padding, [gap * (size - 1) for gap, size in zip(gaps, kernel, strict=True)])
    return {
        "strides": list(steps),
        "pads": [before for before, _ in sides] + [after for _, after in sides],
        "dilations": list(gaps),
        "group": groups,
    }


CONVOLUTION: Mapping[str, Rule] = {
    f"aten.{name}": Rule(conv, conv_back)
    for name in ("conv1d.default", "conv1d.padding", "conv2d.default", "conv2d.padding")
}
