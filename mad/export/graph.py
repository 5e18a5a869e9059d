"""What a detector is written into: a graph that takes ONNX's calls, with its network in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

FLOAT = np.dtype(np.float64)
WHOLE = np.dtype(np.int64)
TRUTH = np.dtype(np.bool_)


@runtime_checkable
class Graph(Protocol):
    """What writes calls and constants down, and names them; `apd.to_onnx.Writer` does."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """What the network computes in."""
        ...

    def call(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Call one of ONNX's operators."""
        ...

    def constant(self, value: NDArray[Any]) -> str:
        """A constant."""
        ...

    def cast(self, value: str, dtype: np.dtype[Any] | None = None) -> str:
        """A value in another type, by default the network's."""
        ...


@runtime_checkable
class Network(Protocol):
    """A decomposed network as values of a graph; `apd.to_onnx.Network` is one."""

    @property
    def width(self) -> int:
        """How many outputs there are, d."""
        ...

    @property
    def inputs(self) -> int:
        """How many coordinates an input has, p."""
        ...

    @property
    def outputs(self) -> str:
        """The outputs [n, d]."""
        ...

    def attributions(self, seed: str) -> str:
        """What components contribute [n, C] to the outputs, weighted by seed [n, d]."""
        ...

    def strengths(self) -> str:
        """By which components are active [n, C]."""
        ...

    def input_effects(self, seed: str) -> str:
        """What came in through the coordinates of an input [n, p], as weighted by seed [n, d]."""
        ...

    def masked_outputs(self, mask: str) -> str:
        """The outputs on the components that mask [n, C] has as ones."""
        ...

    def outputs_on(self, components: Iterable[int]) -> str:
        """The outputs of some components together, the same for all inputs."""
        ...


class Output(NamedTuple):
    """One result of a graph: the value it is, its type, its shape (n inputs), and what it means."""

    value: str
    dtype: np.dtype[Any]
    shape: tuple[int | str, ...]
    meaning: str


def added(g: Graph, values: Sequence[str]) -> str:
    """The sum of values."""
    total = values[0]
    for value in values[1:]:
        total = g.call("Add", total, value)
    return total


def summed(g: Graph, values: str) -> str:
    """The sum over the second axis."""
    return g.call("ReduceSum", values, g.constant(np.array([1])), keepdims=0)


def scaled(g: Graph, values: str, factor: float) -> str:
    """A multiple."""
    return g.call("Mul", values, g.constant(np.array(factor)))


def together(g: Graph, effects: str, p: int, most: int) -> tuple[str, int]:
    """`mad.evidence.together` of p effects, and how many they are then."""
    length = -(-p // most)
    count = -(-p // length)
    filled = g.call("Pad", effects, g.constant(np.array([0, 0, 0, -p % length])))
    runs = g.call("Reshape", filled, g.constant(np.array([0, count, length])))
    return g.call("ReduceSum", runs, g.constant(np.array([2])), keepdims=0), count


def unless(g: Graph, finite: str, values: str) -> str:
    """NaN where the input is not finite."""
    return g.call("Where", finite, values, g.constant(np.array(np.nan)))
