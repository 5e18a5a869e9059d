"""Reading a graph for the places where weights act."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from torch import Tensor

from apd.errors import TargetError
from apd.graph import Graph, Node, names_in
from apd.sites.biases import is_bias
from apd.sites.conv import ConvUse
from apd.sites.embedding import EmbeddingUse
from apd.sites.linear import LinearUse, TransposedUse
from apd.sites.site import Site, Use

TRANSPOSES = frozenset(
    ("aten.permute.default", "aten.transpose.int", "aten.t.default", "aten.numpy_T.default")
)
GROUPS = 6
SUPPORTED = (
    "linear layers, products x @ W, convolutions in one direction or two, embeddings, and what is "
    "made of these"
)

Maker = Callable[[Node, str, Tensor], Use]


def linear(node: Node, site: str, _: Tensor) -> Use:
    """x W^T."""
    return LinearUse(node.name, site)


def transposed(node: Node, site: str, _: Tensor) -> Use:
    """x W."""
    return TransposedUse(node.name, site)


def conv(node: Node, site: str, _: Tensor, directions: int) -> Use:
    """A convolution; its groups are the last argument, and left out where there is one."""
    groups = node.args[GROUPS] if len(node.args) > GROUPS else 1
    return ConvUse(node.name, site, groups, directions)


def embedding(node: Node, site: str, weight: Tensor) -> Use:
    """Rows of W."""
    return EmbeddingUse(node.name, site, len(weight))


conv1d, conv2d = (partial(conv, directions=directions) for directions in (1, 2))

# operator -> the use of a weight given as it is, after what it is applied to
LAYERS: dict[str, Maker] = {
    "aten.linear.default": linear,
    "aten.matmul.default": transposed,
    "aten.mm.default": transposed,
    "aten.conv1d.default": conv1d,
    "aten.conv1d.padding": conv1d,
    "aten.conv2d.default": conv2d,
    "aten.conv2d.padding": conv2d,
}

# operator -> the use of a weight given transposed, after what it is applied to
LAYERS_OF_TRANSPOSES: dict[str, Maker] = {
    "aten.linear.default": transposed,
    "aten.matmul.default": linear,
    "aten.mm.default": linear,
}

# operator -> the use of a weight given as it is, ahead of what it is applied to
TABLES: dict[str, Maker] = {
    "aten.embedding.default": embedding,
    "aten.index.Tensor": embedding,
}


def find_sites(
    graph: Graph, weights: Mapping[str, Tensor], patterns: Sequence[str]
) -> dict[str, Site]:
    """The sites whose dotted names match any of the patterns (shell wildcards), in graph order.

    Args:
        graph: the network.
        weights: the tensors that may be decomposed, by dotted name; biases are left whole.
        patterns: which of them are to be; after a "!", which are not, of all where none are named.

    Raises:
        TargetError: a pattern matches no weight, or a matching weight is no matrix, is never used,
            or is used by an operator that cannot be decomposed.
    """
    names = list(dict.fromkeys(matrices_of(graph, weights).values()))
    return sites_named(graph, weights, matching(names, patterns))


def sites_named(
    graph: Graph, weights: Mapping[str, Tensor], names: Sequence[str]
) -> dict[str, Site]:
    """The sites of those names, in their order.

    Raises:
        TargetError: one of these weights is no matrix, is never used, or is used by an operator
            that cannot be decomposed.
    """
    matrices = matrices_of(graph, weights)
    uses = uses_of(graph, matrices, weights)
    return {name: site_of(name, weights[name], uses[name]) for name in names}


def matrices_of(graph: Graph, weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Placeholder -> dotted name of every weight that may be decomposed."""
    return {
        placeholder: name
        for placeholder, name in graph.tensors.items()
        if name in weights
        and weights[name].ndim > 1
        and weights[name].is_floating_point()
        and not is_bias(graph, placeholder, weights[name])
    }


def matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The names that match a pattern, without those that match one after a "!".

    Raises:
        TargetError: a pattern matches none, or none are left.
    """
    for pattern in patterns:
        if not any(fits(name, pattern.removeprefix("!")) for name in names):
            raise TargetError(
                f"no weight of the target matches {pattern!r}; it has "
                f"{', '.join(names) or 'no weight matrices'}"
            )
    unwanted = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    wanted = wanted or ["*"] * bool(unwanted)
    chosen = [
        name
        for name in names
        if any(fits(name, pattern) for pattern in wanted)
        and not any(fits(name, pattern) for pattern in unwanted)
    ]
    if not chosen:
        raise TargetError(f"the sites {list(patterns)} leave nothing of {', '.join(names)}")
    return chosen


def fits(name: str, pattern: str) -> bool:
    """Whether a pattern is a name, or matches it by shell wildcards."""
    return name == pattern or fnmatchcase(name, pattern)


def uses_of(
    graph: Graph, matrices: Mapping[str, str], weights: Mapping[str, Tensor]
) -> dict[str, list[Use | Node]]:
    """Every call that reads a matrix, by the matrix's name: a use, or the node where none fits."""
    straight = dict(matrices)
    turned: dict[str, str] = {}
    uses: dict[str, list[Use | Node]] = defaultdict(list)

    def add(maker: Maker, node: Node, name: str) -> None:
        uses[name].append(maker(node, name, weights[name]))

    for node in graph.nodes:
        first, second = first_two(node)
        if node.op in TRANSPOSES and first in straight:
            turned[node.name] = straight[first]
        elif node.op in LAYERS and second in straight and first not in straight:
            add(LAYERS[node.op], node, straight[second])
        elif node.op in LAYERS_OF_TRANSPOSES and second in turned and first not in straight:
            add(LAYERS_OF_TRANSPOSES[node.op], node, turned[second])
        elif node.op in TABLES and first in straight and second and second not in straight:
            add(TABLES[node.op], node, straight[first])
        else:
            for name in names_in([node.args, list(node.kwargs.values())]):
                if name in straight or name in turned:
                    uses[{**straight, **turned}[name]].append(node)
    return uses


def first_two(node: Node) -> tuple[str, str]:
    """The values a call's first two arguments stand for, each alone or alone in a list."""
    first, second, *_ = (*(value_of(arg) for arg in node.args[:2]), "", "")
    return first, second


def value_of(arg: Any) -> str:
    """The one value a JSON argument stands for, empty where there is none."""
    match arg:
        case {"node": name} | [{"node": name}]:
            return name
        case _:
            return ""


def site_of(name: str, weight: Tensor, uses: Sequence[Use | Node]) -> Site:
    """A site out of everything that reads its weight.

    Raises:
        TargetError: nothing reads it, or something does that cannot be decomposed.
    """
    otherwise = f"leave it whole with the sites setting, for example sites = ['*', '!{name}']"
    if not uses:
        raise TargetError(f"the weight {name} is never used in the target's forward; {otherwise}")
    for use in uses:
        if isinstance(use, Node):
            raise TargetError(
                f"the weight {name} is used by {use.op}, which cannot be decomposed; supported "
                f"are {SUPPORTED} ({otherwise})"
            )
    if weight.ndim != 2 and any(isinstance(use, LinearUse) for use in uses):
        raise TargetError(
            f"the weight {name} has shape {tuple(weight.shape)}; only matrices and the weights of "
            f"convolutions can be decomposed ({otherwise})"
        )
    shape = (weight.shape[0], weight[0].numel())
    return Site(name, shape, tuple(use for use in uses if isinstance(use, Use)))
