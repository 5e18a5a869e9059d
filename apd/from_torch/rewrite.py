"""Exported calls in the few forms that sites know, computing the same.

addmm(b, x, W)               becomes  linear(x, W^T, b), as in GPT-2's transposed layers;
linear(x, rows of W, b)      becomes  columns of linear(x, W), plus b, as in packed attention;
a weight on [p, n, i] or [p n, i], as in `nn.Transformer`, is applied to [n, p, i] instead.
"""

from __future__ import annotations

import operator
from typing import Any, cast

import torch
from torch.fx import Graph, Node

from apd.from_torch.layout import PLAIN, Layout, layouts, shape_of

aten = torch.ops.aten

PARTS = frozenset((aten.split_with_sizes.default, aten.split.Tensor, aten.chunk.default))
APPLYING = frozenset((aten.linear.default, aten.matmul.default, aten.mm.default))
LOOKING_UP = frozenset((aten.embedding.default, aten.index.Tensor))


def rewrite(graph: Graph, n: torch.SymInt) -> None:
    """Bring an exported graph's calls into the forms sites know, in place.

    Args:
        graph: with the shape of every value in its metadata.
        n: the free number of inputs in these shapes.
    """
    for node in list(graph.nodes):
        if node.target == aten.addmm.default and not node.kwargs:
            as_linear(graph, node)
    for node in list(graph.nodes):
        if node.target == aten.linear.default:
            as_columns(graph, node)
    found = layouts(graph, n)
    operand = {node: operands(node) for node in graph.nodes}
    for node, (x, weight) in operand.items():
        if x in found and weight not in found and found[x] != PLAIN:
            with_inputs_first(graph, node, found[x])
    graph.eliminate_dead_code()


def as_linear(graph: Graph, node: Node) -> None:
    """Addmm(b, x, W) as linear(x, W^T, b)."""
    bias, x, weight = cast("tuple[Node, Node, Node]", node.args)
    with graph.inserting_before(node):
        turned = graph.call_function(aten.permute.default, (weight, [1, 0]))
        turned.meta["val"] = weight.meta["val"].T
        product = graph.call_function(aten.linear.default, (x, turned, bias))
    product.meta = dict(node.meta)
    node.replace_all_uses_with(product)


def as_columns(graph: Graph, node: Node) -> None:
    """Linear(x, rows of W, b) as columns of linear(x, W), plus b."""
    x, weight, *bias = cast("tuple[Any, ...]", node.args)
    found = rows(weight)
    if found is None:
        return
    whole, start, stop = found
    value = node.meta["val"]
    with graph.inserting_before(node):
        product = graph.call_function(aten.linear.default, (x, whole))
        product.meta["val"] = value.new_empty((*value.shape[:-1], shape_of(whole)[0]))
        part = graph.call_function(aten.slice.Tensor, (product, -1, start, stop))
        part.meta = dict(node.meta)
        if bias and bias[0] is not None:
            part = graph.call_function(aten.add.Tensor, (part, bias[0]))
            part.meta = dict(node.meta)
    node.replace_all_uses_with(part)


def rows(weight: Any) -> tuple[Node, int, int] | None:
    """What a weight is a range of rows of, the range's first row and the one after its last."""
    if weight.target == aten.slice.Tensor and weight.args[1] == 0:
        whole, _, start, stop, *_ = weight.args
        found = whole, start, min(stop, shape_of(whole)[0])
    elif weight.target == operator.getitem and weight.args[0].target in PARTS:
        parts, k = weight.args
        sizes = [part.shape[0] for part in parts.meta["val"]]
        found = parts.args[0], sum(sizes[:k]), sum(sizes[: k + 1])
    else:
        return None
    whole, start, stop = found
    is_rows = shape_of(weight) == (stop - start, *shape_of(whole)[1:])
    return found if whole.op == "placeholder" and is_rows else None


def operands(node: Node) -> tuple[Any, Any]:
    """What a matrix is applied to in a call, and the matrix; None twice where none is."""
    if node.target in APPLYING:
        x, weight, *_ = cast("tuple[Any, ...]", node.args)
    elif node.target in LOOKING_UP:
        weight, x, *_ = cast("tuple[Any, ...]", node.args)
        x = x[0] if isinstance(x, (list, tuple)) else x
    else:
        return None, None
    return (x, weight) if len(shape_of(weight)) == 2 else (None, None)


def with_inputs_first(graph: Graph, node: Node, layout: Layout) -> None:
    """Apply a matrix with the inputs' axis first, and leave its result as it was laid out."""
    axis, ahead, behind = layout
    x, _ = operands(node)
    before, after = list(shape_of(x)), list(shape_of(node))
    apart = [ahead] * (ahead > 1) + [-1] + [behind] * (behind > 1)
    at, rank = axis + apart.index(-1), len(after) + len(apart) - 1
    there = [at, *(k for k in range(len(before) + len(apart) - 1) if k != at)]
    back = [*range(1, at + 1), 0, *range(at + 1, rank)]
    with graph.inserting_before(node):
        shape = [*before[:axis], *apart, *before[axis + 1 :]]
        x_apart = graph.call_function(aten.reshape.default, (x, shape))
        x_first = graph.call_function(aten.permute.default, (x_apart, there))
    node.replace_input_with(x, x_first)
    with graph.inserting_after(node):
        y_apart = graph.call_function(aten.permute.default, (node, back))
    with graph.inserting_after(y_apart):
        shape = [*after[:axis], -1, *after[axis + 1 :]]
        y = graph.call_function(aten.reshape.default, (y_apart, shape))
    y.meta = dict(node.meta)
    node.replace_all_uses_with(y, delete_user_cb=lambda user: user is not y_apart)
