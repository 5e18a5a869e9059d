"""Arithmetic and comparisons, number by number, with ONNX's (numpy's) broadcasting."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from apd.from_onnx.values import torch_type


def unary(function: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
    """An operator of one input and no attributes."""

    def call(x: Tensor) -> Tensor:
        return function(x)

    return call


def binary(function: Callable[..., Any]) -> Callable[[Tensor, Tensor | float], Tensor]:
    """An operator of two inputs and no attributes; the second may be a constant number."""

    def call(a: Tensor, b: Tensor | float) -> Tensor:
        return function(a, b)

    return call


def logical(function: Callable[..., Any]) -> Callable[[Tensor, Tensor], Tensor]:
    """An operator of two inputs of truth values, either of which may be a constant."""

    def call(a: Tensor, b: Tensor) -> Tensor:
        return function(a, b)

    return call


def variadic(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """An operator of one or more inputs, taken in turn."""

    def call(*several: Tensor) -> Tensor:
        return functools.reduce(function, several)

    return call


def divide(a: Tensor, b: Tensor | float) -> Tensor:
    """A / b; of integers, without the part after the point."""
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def modulo(a: Tensor, b: Tensor | float, *, fmod: int = 0) -> Tensor:
    """What division leaves, with the sign of b; with that of a where `fmod` says so."""
    return torch.fmod(a, b) if fmod else torch.remainder(a, b)


def where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """A where the condition holds, else b."""
    return torch.where(condition, a, b)


def cast(x: Tensor, *, to: int, saturate: int = 1) -> Tensor:
    """The same numbers in another type; `saturate` is about types of 8 bits, which are none."""
    return x.to(torch_type(to))


ARITHMETIC = {
    "Abs": unary(torch.abs),
    "Neg": unary(torch.neg),
    "Sqrt": unary(torch.sqrt),
    "Reciprocal": unary(torch.reciprocal),
    "Exp": unary(torch.exp),
    "Log": unary(torch.log),
    "Sin": unary(torch.sin),
    "Cos": unary(torch.cos),
    "Floor": unary(torch.floor),
    "Ceil": unary(torch.ceil),
    "Round": unary(torch.round),
    "Sign": unary(torch.sign),
    "Not": unary(torch.logical_not),
    "Add": binary(operator.add),
    "Sub": binary(operator.sub),
    "Mul": binary(operator.mul),
    "Div": divide,
    "Mod": modulo,
    "Pow": binary(operator.pow),
    "Equal": binary(operator.eq),
    "Greater": binary(operator.gt),
    "GreaterOrEqual": binary(operator.ge),
    "Less": binary(operator.lt),
    "LessOrEqual": binary(operator.le),
    "And": logical(torch.logical_and),
    "Or": logical(torch.logical_or),
    "Max": variadic(torch.maximum),
    "Min": variadic(torch.minimum),
    "Sum": variadic(torch.add),
    "Where": where,
    "Cast": cast,
}
