"""Softmax, of outputs above all."""

from __future__ import annotations

from collections.abc import Mapping

from apd.to_onnx.rules.rule import Rule
from apd.to_onnx.steps import Step
from apd.to_onnx.writer import Writer


def softmax(w: Writer, step: Step, x: str, axis: int) -> str:
    """Exp x over its sum along an axis."""
    return w.call("Softmax", x, axis=axis)


def softmax_back(w: Writer, step: Step, y: str, g: str, x: str, axis: int) -> list[str | None]:
    """Y (g - sum y g)."""
    mean = w.call("ReduceSum", w.call("Mul", y, g), w.integers(axis))
    return [w.call("Mul", y, w.call("Sub", g, mean))]


def log_softmax(w: Writer, step: Step, x: str, axis: int) -> str:
    """The logarithm of the softmax."""
    return w.call("LogSoftmax", x, axis=axis)


def log_softmax_back(w: Writer, step: Step, y: str, g: str, x: str, axis: int) -> list[str | None]:
    """G - exp y sum g."""
    total = w.call("ReduceSum", g, w.integers(axis))
    return [w.call("Sub", g, w.call("Mul", w.call("Exp", y), total))]


SOFTMAX: Mapping[str, Rule] = {
    "aten.softmax.int": Rule(softmax, softmax_back),
    "aten.log_softmax.int": Rule(log_softmax, log_softmax_back),
}
