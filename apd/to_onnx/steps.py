"""A target's graph as steps: the calls that depend on the inputs, all else worked out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from apd.errors import TargetError
from apd.graph import Handler, decode, names_in
from apd.target import Target

FEW, MORE = 2, 3


@dataclass(frozen=True)
class Value:
    """Something that depends on the inputs.

    Attributes:
        name: what the graph calls it.
        shape: of one input's share of it.
    """

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """A call whose result depends on the inputs.

    Attributes:
        op: the operator.
        args: its arguments: values, constant tensors, numbers, and lists of these; None stands for
            the number of inputs, too.
        kwargs: those given by name.
        result: what it makes; the first where that is several things.
    """

    op: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Value


def steps_of(target: Target) -> list[Step]:
    """The steps from the inputs to the outputs, in order.

    Raises:
        TargetError: the first axis of a value is not the inputs'.
    """
    few, more = results(target, FEW), results(target, MORE)
    source = target.graph.input
    values: dict[str, Value | None] = {source: Value(source, target.input_shape)}
    steps: list[Step] = []
    for node in target.graph.nodes:
        if not any(name in values for name in names_in([node.args, *node.kwargs.values()])):
            continue
        if not isinstance(few[node.name], Tensor):
            values[node.name] = None
            continue
        result = Value(node.name, tuple(few[node.name].shape[1:]))
        if few[node.name].shape[:1] != (FEW,) or more[node.name].shape != (MORE, *result.shape):
            raise TargetError(
                f"the first axis of what {node.op} makes is not the inputs'; it cannot be exported"
            )
        known = {**few, **values}
        args = tuple(decode(arg, known, target.device) for arg in node.args)
        kwargs = {name: decode(arg, known, target.device) for name, arg in node.kwargs.items()}
        steps.append(Step(node.op, args, kwargs, result))
        values[node.name] = result
    return steps


def results(target: Target, n: int) -> dict[str, Any]:
    """What every call makes of n inputs of zeros, and the tensors they are given, by name."""
    found: dict[str, Any] = {
        name: target.state[dotted] for name, dotted in target.graph.tensors.items()
    }

    def record(name: str) -> Handler:
        def call(operator: Any, *args: Any, **kwargs: Any) -> Any:
            made = operator(*args, **kwargs)
            found[name] = made[0] if isinstance(made, tuple) else made
            return made

        return call

    zeros = torch.zeros(n, *target.input_shape, dtype=target.input_dtype, device=target.device)
    with torch.no_grad():
        target.run(zeros, {node.name: record(node.name) for node in target.graph.nodes})
    return found
