"""What the functions of `OPERATORS` take, read off their annotations."""

from __future__ import annotations

import inspect
from collections.abc import Set
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from apd.errors import TargetError
from apd.from_onnx.node import Node
from apd.from_onnx.operators import OPERATORS
from apd.from_onnx.values import as_tensor

POSITIONAL = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
SEVERAL_RESULTS = ("Split",)
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@cache
def parameters(op: str) -> list[inspect.Parameter]:
    """An operator's inputs and attributes, in order."""
    return list(inspect.signature(OPERATORS[op]).parameters.values())


@cache
def kinds(op: str, position: int) -> frozenset[type]:
    """What an input may be, out of Tensor, np.ndarray and float."""
    inputs = [p for p in parameters(op) if p.kind in POSITIONAL]
    hint = get_type_hints(OPERATORS[op])[inputs[min(position, len(inputs) - 1)].name]
    of = {get_origin(part) or part for part in (hint, *get_args(hint))}
    return frozenset(of & {Tensor, np.ndarray, float})


def check(node: Node, used: Set[str]) -> None:
    """Refuse a call with an attribute, an input or a result that its operator does not know.

    Args:
        node: the call.
        used: the names of all values that something takes.

    Raises:
        TargetError: with which.
    """
    known = {p.name for p in parameters(node.op) if p.kind in NAMED}
    unknown = [name for name in node.attributes if name not in known]
    if unknown:
        raise TargetError(f"{node.op} with {', '.join(unknown)} is not supported")
    inputs = [p for p in parameters(node.op) if p.kind in POSITIONAL]
    variadic = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in inputs)
    if len(node.inputs) > len(inputs) and not variadic:
        raise TargetError(f"{node.op} with {len(node.inputs)} inputs is not supported")
    if node.op not in SEVERAL_RESULTS and used & set(node.outputs[1:]):
        raise TargetError(f"the second result of {node.op} is used, which is not supported")


def fit(op: str, position: int, value: Any, device: torch.device) -> Any:
    """A value as an input of an operator.

    Raises:
        TargetError: it must not depend on the inputs' values, and does.
    """
    wanted = kinds(op, position)
    if isinstance(value, Tensor) and Tensor not in wanted:
        name = parameters(op)[position].name
        raise TargetError(f"{op} takes {name} out of the inputs' values, which is not supported")
    if not isinstance(value, np.ndarray) or np.ndarray in wanted:
        return value
    return value.item() if is_number(value, wanted) else as_tensor(value, device)


def is_number(value: NDArray[Any], wanted: frozenset[type]) -> bool:
    """Whether an array is a single number that may be one."""
    return float in wanted and value.ndim == 0 and value.dtype != object
