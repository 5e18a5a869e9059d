"""Nonlinear functions of every number: the gradient is multiplied by the function's slope."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from apd.to_onnx.rules.rule import Rule
from apd.to_onnx.steps import Step
from apd.to_onnx.writer import Writer

CUBIC = 0.044715


def elementwise(function: Callable[..., str], slope: Callable[..., str]) -> Rule:
    """A rule.

    Args:
        function: of a writer, x and the operator's options.
        slope: of a writer, x, the result y and the operator's options.
    """

    def forward(w: Writer, step: Step, x: str, *options: Any, **named: Any) -> str:
        return function(w, x, *options, **named)

    def backward(
        w: Writer, step: Step, y: str, g: str, x: str, *options: Any, **named: Any
    ) -> list[str | None]:
        return [w.call("Mul", g, slope(w, x, y, *options, **named))]

    return Rule(forward, backward)


def polynomial(w: Writer, x: str, *coefficients: float) -> str:
    """c_0 + c_1 x + c_2 x^2 + ..., by Horner's rule."""
    value = w.number(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value = w.call("Mul", value, x)
        value = w.call("Add", value, w.number(c)) if c else value
    return value


def relu(w: Writer, x: str) -> str:
    """max(x, 0)."""
    return w.call("Relu", x)


def relu_slope(w: Writer, x: str, y: str) -> str:
    """1 where the result is positive, else 0."""
    return w.cast(w.call("Greater", y, w.number(0.0)))


def leaky_relu(w: Writer, x: str, alpha: float = 0.01) -> str:
    """x where positive, else alpha x."""
    return w.call("LeakyRelu", x, alpha=alpha)


def leaky_relu_slope(w: Writer, x: str, y: str, alpha: float = 0.01) -> str:
    """1 where positive, else alpha."""
    return w.call("Where", w.call("Greater", x, w.number(0.0)), w.number(1.0), w.number(alpha))


def elu(w: Writer, x: str, alpha: float = 1.0) -> str:
    """x where positive, else alpha (exp x - 1)."""
    return w.call("Elu", x, alpha=alpha)


def elu_slope(w: Writer, x: str, y: str, alpha: float = 1.0) -> str:
    """1 where positive, else alpha exp x."""
    below = w.call("Add", y, w.number(alpha))
    return w.call("Where", w.call("Greater", x, w.number(0.0)), w.number(1.0), below)


def tanh(w: Writer, x: str) -> str:
    """The hyperbolic tangent."""
    return w.call("Tanh", x)


def tanh_slope(w: Writer, x: str, y: str) -> str:
    """1 - y^2."""
    return polynomial(w, y, 1.0, 0.0, -1.0)


def sigmoid(w: Writer, x: str) -> str:
    """The logistic function."""
    return w.call("Sigmoid", x)


def sigmoid_slope(w: Writer, x: str, y: str) -> str:
    """Y (1 - y)."""
    return polynomial(w, y, 0.0, 1.0, -1.0)


def silu(w: Writer, x: str) -> str:
    """x sigmoid(x)."""
    return w.call("Mul", x, w.call("Sigmoid", x))


def silu_slope(w: Writer, x: str, y: str) -> str:
    """S + y (1 - s), with s = sigmoid(x)."""
    s = w.call("Sigmoid", x)
    return w.call("Add", s, w.call("Mul", y, polynomial(w, s, 1.0, -1.0)))


def gelu(w: Writer, x: str, *, approximate: str = "none") -> str:
    """x times the normal distribution's cumulative density at x, or its tanh approximation."""
    return w.call("Gelu", x, approximate=approximate)


def gelu_slope(w: Writer, x: str, y: str, *, approximate: str = "none") -> str:
    """The cumulative density at x, plus x times the density there."""
    if approximate == "tanh":
        return approximate_gelu_slope(w, x)
    erf = w.call("Erf", w.call("Mul", x, w.number(math.sqrt(0.5))))
    density = w.call("Exp", polynomial(w, x, 0.0, 0.0, -0.5))
    scaled = w.call("Mul", w.call("Mul", x, density), w.number(1 / math.sqrt(2 * math.pi)))
    return w.call("Add", polynomial(w, erf, 0.5, 0.5), scaled)


def approximate_gelu_slope(w: Writer, x: str) -> str:
    """(1 + t + x (1 - t^2) u') / 2, with t = tanh(u), u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    c = math.sqrt(2 / math.pi)
    t = w.call("Tanh", polynomial(w, x, 0.0, c, 0.0, c * CUBIC))
    steep = w.call("Mul", polynomial(w, t, 0.5, 0.0, -0.5), polynomial(w, x, c, 0.0, 3 * c * CUBIC))
    return w.call("Add", polynomial(w, t, 0.5, 0.5), w.call("Mul", x, steep))


ELEMENTWISE: Mapping[str, Rule] = {
    "aten.relu.default": elementwise(relu, relu_slope),
    "aten.leaky_relu.default": elementwise(leaky_relu, leaky_relu_slope),
    "aten.elu.default": elementwise(elu, elu_slope),
    "aten.tanh.default": elementwise(tanh, tanh_slope),
    "aten.sigmoid.default": elementwise(sigmoid, sigmoid_slope),
    "aten.silu.default": elementwise(silu, silu_slope),
    "aten.gelu.default": elementwise(gelu, gelu_slope),
}
