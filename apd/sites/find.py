"""Reading a graph for the places where weights act."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor

from apd.errors import TargetError
from apd.graph import Graph, Node
from apd.sites.linear import LinearUse, TransposedUse
from apd.sites.site import Site, Use

TRANSPOSES = frozenset(
    ("aten.permute.default", "aten.transpose.int", "aten.t.default", "aten.numpy_T.default")
)

# operator -> (the use of a weight given as it is, the use of a weight given transposed)
LAYERS: dict[str, tuple[type[Use], type[Use]]] = {
    "aten.linear.default": (LinearUse, TransposedUse),
    "aten.matmul.default": (TransposedUse, LinearUse),
    "aten.mm.default": (TransposedUse, LinearUse),
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
    transposed: dict[str, str] = {}
    uses: dict[str, list[Use | Node]] = defaultdict(list)
    for node in graph.nodes:
        operands = [
            arg["node"] if isinstance(arg, dict) and "node" in arg else None for arg in node.args
        ]
        weight = operands[1] if len(operands) > 1 else None
        if node.op in TRANSPOSES and operands[0] in straight:
            transposed[node.name] = straight[operands[0]]
        elif node.op in LAYERS and weight in straight and operands[0] not in straight:
            uses[straight[weight]].append(LAYERS[node.op][0](node.name, straight[weight]))
        elif node.op in LAYERS and weight in transposed and operands[0] not in straight:
            uses[transposed[weight]].append(LAYERS[node.op][1](node.name, transposed[weight]))
        else:
            for name in names_in([node.args, list(node.kwargs.values())]):
                if name in straight or name in transposed:
                    uses[{**straight, **transposed}[name]].append(node)
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
    if weight.ndim != 2:
        raise TargetError(
            f"the weight {name} has shape {tuple(weight.shape)}; only matrices can be decomposed "
            "(choose others with the sites setting)"
        )
    return Site(
        name, (weight.shape[0], weight.shape[1]), tuple(use for use in uses if isinstance(use, Use))
    )
