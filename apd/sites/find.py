"""Reading a graph for the places where weights act."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from torch import Tensor

from apd.errors import TargetError
from apd.graph import Graph, Node
from apd.sites.conv import ConvUse
from apd.sites.linear import LinearUse, TransposedUse
from apd.sites.site import Site, Use

TRANSPOSES = frozenset(
    ("aten.permute.default", "aten.transpose.int", "aten.t.default", "aten.numpy_T.default")
)
GROUPS = 6


def linear(node: Node, site: str) -> Use:
    """X W^T."""
    return LinearUse(node.name, site)


def transposed(node: Node, site: str) -> Use:
    """X W."""
    return TransposedUse(node.name, site)


def conv(node: Node, site: str, directions: int) -> Use:
    """A convolution; its groups are the last argument, and left out where there is one."""
    groups = node.args[GROUPS] if len(node.args) > GROUPS else 1
    return ConvUse(node.name, site, groups, directions)


conv1d, conv2d = (partial(conv, directions=directions) for directions in (1, 2))

# operator -> the use of a weight given as it is
LAYERS: dict[str, Callable[[Node, str], Use]] = {
    "aten.linear.default": linear,
    "aten.matmul.default": transposed,
    "aten.mm.default": transposed,
    "aten.conv1d.default": conv1d,
    "aten.conv1d.padding": conv1d,
    "aten.conv2d.default": conv2d,
    "aten.conv2d.padding": conv2d,
}

# operator -> the use of a weight given transposed
LAYERS_OF_TRANSPOSES: dict[str, Callable[[Node, str], Use]] = {
    "aten.linear.default": transposed,
    "aten.matmul.default": linear,
    "aten.mm.default": linear,
}


def find_sites(
    graph: Graph, weights: Mapping[str, Tensor], patterns: Sequence[str]
) -> dict[str, Site]:
    """The sites whose dotted names match any of the patterns (shell wildcards), in graph order.

    Args:
        graph: the network.
        weights: the tensors that may be decomposed, by dotted name.
        patterns: which of them are to be.

    Raises:
        TargetError: a pattern matches no weight, or a matching weight is no matrix, is never used,
            or is used by an operator that cannot be decomposed.
    """
    matrices = {
        placeholder: name
        for placeholder, name in graph.tensors.items()
        if name in weights and weights[name].ndim > 1 and weights[name].is_floating_point()
    }
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in matrices.values()):
            raise TargetError(
                f"no weight of the target matches {pattern!r}; it has "
                f"{', '.join(matrices.values()) or 'no weight matrices'}"
            )
    uses = uses_of(graph, matrices)
    chosen = [
        name
        for name in dict.fromkeys(matrices.values())
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    ]
    return {name: site_of(name, weights[name], uses[name]) for name in chosen}


def uses_of(graph: Graph, matrices: Mapping[str, str]) -> dict[str, list[Use | Node]]:
    """Every call that reads a matrix, by the matrix's name: a use, or the node where none fits."""
    straight = dict(matrices)
    turned: dict[str, str] = {}
    uses: dict[str, list[Use | Node]] = defaultdict(list)
    for node in graph.nodes:
        operands = [
            arg["node"] if isinstance(arg, dict) and "node" in arg else None for arg in node.args
        ]
        weight = operands[1] if len(operands) > 1 else None
        if node.op in TRANSPOSES and operands[0] in straight:
            turned[node.name] = straight[operands[0]]
        elif node.op in LAYERS and weight in straight and operands[0] not in straight:
            uses[straight[weight]].append(LAYERS[node.op](node, straight[weight]))
        elif node.op in LAYERS_OF_TRANSPOSES and weight in turned and operands[0] not in straight:
            uses[turned[weight]].append(LAYERS_OF_TRANSPOSES[node.op](node, turned[weight]))
        else:
            for name in names_in([node.args, list(node.kwargs.values())]):
                if name in straight or name in turned:
                    uses[{**straight, **turned}[name]].append(node)
    return uses


def names_in(arg: Any) -> list[str]:
    """Every earlier value a call's arguments refer to."""
    if isinstance(arg, list):
        return [name for item in arg for name in names_in(item)]
    return [arg["node"]] if isinstance(arg, dict) and "node" in arg else []


def site_of(name: str, weight: Tensor, uses: Sequence[Use | Node]) -> Site:
    """A site out of everything that reads its weight.

    Raises:
        TargetError: nothing reads it, or something does that cannot be decomposed.
    """
    if not uses:
        raise TargetError(f"the weight {name} is never used in the target's forward")
    for use in uses:
        if isinstance(use, Node):
            raise TargetError(
                f"the weight {name} is used by {use.op}, which cannot be decomposed; supported: "
                f"{', '.join(LAYERS)} (choose others with the sites setting)"
            )
    if weight.ndim != 2 and any(isinstance(use, LinearUse) for use in uses):
        raise TargetError(
            f"the weight {name} has shape {tuple(weight.shape)}; only matrices and the weights of "
            "convolutions can be decomposed (choose others with the sites setting)"
        )
    shape = (weight.shape[0], weight[0].numel())
    return Site(name, shape, tuple(use for use in uses if isinstance(use, Use)))
