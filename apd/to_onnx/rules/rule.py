"""How one operator is written in ONNX, and how a gradient goes back through it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from apd.errors import TargetError
from apd.to_onnx.steps import Step
from apd.to_onnx.writer import Writer


class Rule(NamedTuple):
    """Two functions of a writer, a step and the step's arguments, values among them by name.

    Attributes:
        forward: the name of the result.
        backward: given the names of the result and of a scalar's gradient at it as well, after the
            step: those of its gradients at the first arguments, None for one that is no value.
    """

    forward: Callable[..., str]
    backward: Callable[..., Sequence[str | None]]


def operand(w: Writer, arg: str | Tensor | float | None) -> str:
    """An argument's name: a value has one, and a constant is given one.

    Raises:
        TargetError: it is the number of inputs.
    """
    if arg is None:
        raise TargetError("a target that computes with the number of inputs cannot be exported")
    return arg if isinstance(arg, str) else w.number(arg)


def constant(step: Step, weight: Tensor | str) -> Tensor:
    """An argument that has to be a tensor that does not depend on the inputs.

    Raises:
        TargetError: it is not.
    """
    if not isinstance(weight, Tensor):
        raise TargetError(f"{step.op} with a weight made of the inputs cannot be exported")
    return weight


def same_order(w: Writer, step: Step, x: str, *_: Any, **__: Any) -> str:
    """The same numbers in the same order, in another shape."""
    return w.call("Reshape", x, w.integers(-1, *step.result.shape))


def back_in_order(w: Writer, step: Step, y: str, g: str, *_: Any, **__: Any) -> list[str | None]:
    """The gradient in the shape it came in."""
    return [w.call("Reshape", g, w.integers(-1, *step.args[0].shape))]


IN_ORDER = Rule(same_order, back_in_order)

LAYOUT = {
    f"aten.{name}": IN_ORDER
    for name in (
        *("view.default", "_unsafe_view.default", "reshape.default", "flatten.using_ints"),
        *("unflatten.int", "unsqueeze.default", "squeeze.dim", "squeeze.dims"),
        *("clone.default", "contiguous.default", "alias.default", "detach.default"),
    )
} | {"operator.getitem": IN_ORDER}
