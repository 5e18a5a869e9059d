"""Products with matrices, sums, and scalings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from apd.errors import TargetError
from apd.to_onnx.rules.rule import Rule, constant, operand
from apd.to_onnx.steps import Step, Value
from apd.to_onnx.writer import Writer


def linear(w: Writer, step: Step, x: str, weight: Tensor | str, bias: Tensor | None = None) -> str:
    """x W^T + b."""
    y = w.call("MatMul", x, w.number(constant(step, weight).T))
    return y if bias is None else w.call("Add", y, w.number(bias))


def linear_back(
    w: Writer, step: Step, y: str, g: str, x: str, weight: Tensor, bias: Tensor | None = None
) -> list[str | None]:
    """G W."""
    return [w.call("MatMul", g, w.number(weight))]


def product(w: Writer, step: Step, x: str, weight: Tensor | str) -> str:
    """x W.

    Raises:
        TargetError: W is no matrix.
    """
    matrix = constant(step, weight)
    if matrix.ndim != 2:
        raise TargetError(f"{step.op} with anything but a matrix cannot be exported")
    return w.call("MatMul", x, w.number(matrix))


def product_back(w: Writer, step: Step, y: str, g: str, x: str, weight: Tensor) -> list[str | None]:
    """G W^T."""
    return [w.call("MatMul", g, w.number(weight.T))]


def batch_norm(w: Writer, step: Step, x: str, *given: Any) -> str:
    """x scaled and shifted, channel by channel."""
    scale, shift = scale_and_shift(step, *given)
    return w.call("Add", w.call("Mul", x, w.number(scale)), w.number(shift))


def batch_norm_back(w: Writer, step: Step, y: str, g: str, x: str, *given: Any) -> list[str | None]:
    """G scaled."""
    return [w.call("Mul", g, w.number(scale_and_shift(step, *given)[0]))]


def scale_and_shift(
    step: Step,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    momentum: float,
    epsilon: float,
) -> tuple[Tensor, Tensor]:
    """What a batch norm with fixed statistics multiplies channels by, and what it adds to them."""
    scale = torch.rsqrt(variance + epsilon)
    scale = scale if weight is None else scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    positions = [1] * (len(step.result.shape) - 1)
    return scale.view(-1, *positions), shift.view(-1, *positions)


def add(w: Writer, step: Step, a: Any, b: Any) -> str:
    """A + b."""
    return w.call("Add", operand(w, a), operand(w, b))


def add_back(w: Writer, step: Step, y: str, g: str, a: Any, b: Any) -> list[str | None]:
    """G, for both."""
    return [share(w, step, k, g) for k in range(2)]


def subtract(w: Writer, step: Step, a: Any, b: Any) -> str:
    """A - b."""
    return w.call("Sub", operand(w, a), operand(w, b))


def subtract_back(w: Writer, step: Step, y: str, g: str, a: Any, b: Any) -> list[str | None]:
    """G and -g."""
    return [share(w, step, 0, g), share(w, step, 1, w.call("Neg", g))]


def multiply(w: Writer, step: Step, a: Any, b: Any) -> str:
    """A b, number by number."""
    return w.call("Mul", operand(w, a), operand(w, b))


def multiply_back(w: Writer, step: Step, y: str, g: str, a: Any, b: Any) -> list[str | None]:
    """G b and g a."""
    by_b, by_a = (w.call("Mul", g, operand(w, other)) for other in (b, a))
    return [share(w, step, 0, by_b), share(w, step, 1, by_a)]


def divide(w: Writer, step: Step, a: str, b: Any) -> str:
    """A / b, b being constant.

    Raises:
        TargetError: it is not.
    """
    if isinstance(b, str):
        raise TargetError(f"{step.op} by a value made of the inputs cannot be exported")
    return w.call("Div", a, operand(w, b))


def divide_back(w: Writer, step: Step, y: str, g: str, a: str, b: Any) -> list[str | None]:
    """G / b."""
    return [share(w, step, 0, w.call("Div", g, operand(w, b)))]


def share(w: Writer, step: Step, position: int, g: str) -> str | None:
    """The gradient at one of two arguments, summed over the axes along which it was repeated.

    Raises:
        TargetError: it has fewer axes than the result.
    """
    arg, shape = step.args[position], step.result.shape
    if not isinstance(arg, Value):
        return None
    if len(arg.shape) != len(shape):
        raise TargetError(f"{step.op} of values with other numbers of axes cannot be exported")
    axes = [
        k for k, (own, of_all) in enumerate(zip(arg.shape, shape, strict=True), 1) if own != of_all
    ]
    return w.call("ReduceSum", g, w.integers(*axes)) if axes else g


AFFINE: Mapping[str, Rule] = {
    "aten.linear.default": Rule(linear, linear_back),
    "aten.matmul.default": Rule(product, product_back),
    "aten.mm.default": Rule(product, product_back),
    "aten._native_batch_norm_legit_no_training.default": Rule(batch_norm, batch_norm_back),
    "aten.add.Tensor": Rule(add, add_back),
    "aten.sub.Tensor": Rule(subtract, subtract_back),
    "aten.mul.Tensor": Rule(multiply, multiply_back),
    "aten.div.Tensor": Rule(divide, divide_back),
}
