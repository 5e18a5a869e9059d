"""Where the inputs lie along the axes of every value of an exported graph.

Modules move the inputs' axis about: `nn.MultiheadAttention` puts it second, and flattens it with
the positions. The shapes leave open in which order two axes were flattened. What tells is how many
numbers lie behind the inputs in memory order, which is the same however a value is viewed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.fx import Graph, Node

VIEWS = frozenset(
    f"aten.{name}"
    for name in (
        *("view.default", "_unsafe_view.default", "reshape.default"),
        *("flatten.using_ints", "unflatten.int"),
    )
)


class Layout(NamedTuple):
    """One axis of a value, of size ahead * n * behind, runs over the n inputs."""

    axis: int
    ahead: int
    behind: int


PLAIN = Layout(0, 1, 1)


def layouts(graph: Graph, n: torch.SymInt) -> dict[Node, Layout]:
    """The layouts of all values that have one.

    Args:
        graph: an exported graph, with the shape of every value in its metadata.
        n: the free number of inputs in these shapes.
    """
    found: dict[Node, Layout] = {}
    for node in graph.nodes:
        shape = shape_of(node)
        axes = [axis for axis, size in enumerate(shape) if depends(size, n)]
        if len(axes) != 1:
            continue
        (axis,) = axes
        times = times_of(shape[axis], n)
        sources = [source for source in node.all_input_nodes if source in found]
        behind = [behind_inputs(node, axis, times, source, found[source]) for source in sources]
        known = [1] if times == 1 else [b for b in behind if b > 0 and times % b == 0]
        if times and known:
            found[node] = Layout(axis, times // known[0], known[0])
    return found


def behind_inputs(node: Node, axis: int, times: int, source: Node, layout: Layout) -> int:
    """What lies behind the inputs along an axis, as a value it is made of has it; 0: it is mute."""
    if str(node.target) in VIEWS:
        numbers = layout.behind * size_after(shape_of(source), layout.axis)
        return numbers // size_after(shape_of(node), axis)
    return layout.behind if layout.ahead * layout.behind == times else 0


def shape_of(node: Node) -> Sequence[Any]:
    """The shape of a value, of the first where there are several; empty for what is no tensor."""
    value = node.meta.get("val")
    if isinstance(value, (list, tuple)) and value:
        value = value[0]
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def size_after(shape: Sequence[Any], axis: int) -> int:
    """How many numbers the later axes hold."""
    return math.prod(int(size) for size in shape[axis + 1 :])


def depends(size: Any, n: torch.SymInt) -> bool:
    """Whether a size grows with the number of inputs."""
    return isinstance(size, torch.SymInt) and n.node.expr in size.node.expr.free_symbols


def times_of(size: Any, n: torch.SymInt) -> int:
    """How many times the number of inputs a size is; 0 where it is no multiple."""
    times = size.node.expr / n.node.expr
    return int(times) if times.is_Integer else 0
