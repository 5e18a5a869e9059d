"""Nonlinear functions of every number, and of every vector along an axis."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from apd.from_onnx.operators.arithmetic import unary


def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    """x where positive, else alpha x."""
    return F.leaky_relu(x, alpha)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """x where positive, else slope x."""
    return torch.where(x > 0, x, slope * x)


def elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """x where positive, else alpha (exp x - 1)."""
    return F.elu(x, alpha)


def selu(
    x: Tensor, *, alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805
) -> Tensor:
    """Gamma times the exponential linear unit."""
    return gamma * F.elu(x, alpha)


def celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """max(0, x) + min(0, alpha (exp(x / alpha) - 1))."""
    return F.celu(x, alpha)


def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """x times the normal distribution's cumulative density at x, or its tanh approximation."""
    return F.gelu(x, approximate=approximate)


def swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """x sigmoid(alpha x)."""
    return F.silu(x) if alpha == 1 else x * torch.sigmoid(alpha * x)


def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    """Alpha x + beta, held between 0 and 1."""
    return torch.clamp(alpha * x + beta, 0.0, 1.0)


def softsign(x: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return x / (1 + x.abs())


def clip(
    x: Tensor, least: Tensor | float | None = None, most: Tensor | float | None = None
) -> Tensor:
    """x held between two numbers, either of which may be left out."""
    if least is None and most is None:
        return x
    kind: Any = torch.clamp
    return kind(x, least, most)


def softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """Exp x over its sum along an axis."""
    return torch.softmax(x, axis)


def log_softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """The logarithm of the softmax."""
    return torch.log_softmax(x, axis)


ACTIVATIONS = {
    "Relu": unary(torch.relu),
    "Sigmoid": unary(torch.sigmoid),
    "Tanh": unary(torch.tanh),
    "Erf": unary(torch.erf),
    "HardSwish": unary(F.hardswish),
    "Mish": unary(F.mish),
    "Softplus": unary(F.softplus),
    "Softsign": softsign,
    "LeakyRelu": leaky_relu,
    "PRelu": prelu,
    "Elu": elu,
    "Selu": selu,
    "Celu": celu,
    "Gelu": gelu,
    "Swish": swish,
    "HardSigmoid": hard_sigmoid,
    "Clip": clip,
    "Softmax": softmax,
    "LogSoftmax": log_softmax,
}
