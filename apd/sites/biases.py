"""Tensors of any shape that act as biases: they are added, or scale, and meet no input's vectors.

Position embeddings, class tokens and the scales of normalisations are such. Nothing is applied to
an input through them, so there is nothing to attribute; like biases they stay whole.
"""

from __future__ import annotations

from torch import Tensor

from apd.graph import Graph, Node, names_in

VIEWS = frozenset(
    f"aten.{name}"
    for name in (
        *("alias.default", "clone.default", "contiguous.default", "expand.default"),
        *("expand_as.default", "permute.default", "repeat.default", "reshape.default"),
        *("select.int", "slice.Tensor", "squeeze.default", "squeeze.dim", "transpose.int"),
        *("unsqueeze.default", "view.default"),
    )
)
ADDING = frozenset(
    f"aten.{name}"
    for name in (
        "add.Tensor",
        "sub.Tensor",
        "cat.default",
        "layer_norm.default",
        "rms_norm.default",
    )
)
SCALING = frozenset(("aten.mul.Tensor", "aten.div.Tensor", "aten.where.self"))
LOOKING_UP = frozenset(("aten.embedding.default", "aten.index.Tensor"))


def is_bias(graph: Graph, placeholder: str, weight: Tensor) -> bool:
    """Whether all that is done with a tensor is what is done with biases.

    That is: it is added to something or put beside it; rows of it are looked up that are the same
    for every input; it scales something, being a vector but for axes of size one.
    """
    own, dependent = {placeholder}, {graph.input}
    combining = ADDING | SCALING if weight.squeeze().ndim <= 1 else ADDING
    acts = False
    for node in graph.nodes:
        names = names_in([node.args, *node.kwargs.values()])
        if node.op != "aten.sym_size.int" and not dependent.isdisjoint(names):
            dependent.add(node.name)
        if own.isdisjoint(names):
            continue
        if is_fixed_lookup(node, own, dependent):
            acts = True
        elif node.op not in VIEWS | combining:
            return False
        elif node.name in dependent:
            acts = True
        else:
            own.add(node.name)
    return acts


def is_fixed_lookup(node: Node, own: set[str], dependent: set[str]) -> bool:
    """Whether a call looks up rows of a tensor that no input has a say in."""
    if node.op not in LOOKING_UP:
        return False
    table, *ids = node.args
    return not own.isdisjoint(names_in(table)) and dependent.isdisjoint(names_in(ids))
