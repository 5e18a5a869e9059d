"""The target as constant linear maps between its nonlinear calls.

Between one elementwise nonlinearity and the next a network is affine, and its Jacobian there is the
same for every input. `stages` finds these maps once; `Forward` then pushes components
through them instead of inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from apd.graph import Graph, Handler, Node, names_in
from apd.target import Target

ELEMENTWISE = frozenset(
    f"aten.{name}.default"
    for name in (
        *("relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "sigmoid", "tanh"),
        *("exp", "sin", "cos", "abs", "square"),
    )
)

ADDITIVE = frozenset(("aten.add.Tensor", "aten.sub.Tensor", "aten.cat.default"))

MULTILINEAR = frozenset(
    (
        *("aten.linear.default", "aten.matmul.default", "aten.mm.default", "aten.mul.Tensor"),
        *("aten.neg.default", "aten.view.default", "aten.reshape.default", "aten.clone.default"),
        *("aten.flatten.using_ints", "aten.slice.Tensor", "aten.select.int"),
    )
)


@dataclass(frozen=True)
class Stage:
    """A place where linear maps end: before an elementwise nonlinear call, or at the outputs.

    Attributes:
        node: the nonlinear call's name; empty at the outputs.
        width: k, the numbers per input there.
        uses: use's node -> the Jacobian of the place with respect to the use's output.
        calls: earlier nonlinear call's node -> the Jacobian with respect to its result.
        direct: whether all there is at the place is the result of one such call, as it is.
    """

    node: str
    width: int
    uses: dict[str, Float[Tensor, "k _o"]]
    calls: dict[str, Float[Tensor, "k _h"]]
    direct: bool


def stages(target: Target, row: Shaped[Tensor, "1 *shape"]) -> list[Stage] | None:
    """The target's stages that components can reach, in order, the outputs last.

    Args:
        target: the network.
        row: any one input.

    Returns:
        None where the target is not made of vectors, affine calls and elementwise nonlinear calls.
    """
    nonlinear = nonlinear_calls(target.graph)
    if nonlinear is None:
        return None
    sources: dict[str, Tensor] = {}
    places: dict[str, Tensor] = {}
    uses = {use.node for use in target.uses}

    def use_of(name: str) -> Handler:
        def call(operator: Callable[..., Tensor], *args: Any) -> Tensor:
            sources[name] = operator(*args).requires_grad_()
            return sources[name]

        return call

    def cut(name: str) -> Handler:
        def call(operator: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
            result = operator(*args, **kwargs).detach()
            if not args[0].requires_grad:
                return result
            places[name] = args[0]
            sources[name] = result.requires_grad_()
            return result

        return call

    with torch.enable_grad():
        outputs = target.run(
            row, {name: use_of(name) for name in uses} | {name: cut(name) for name in nonlinear}
        )
        places[""] = outputs
        if any(v.ndim != 2 or len(v) != 1 for v in (*sources.values(), *places.values())):
            return None
        return [stage(name, place, sources, uses) for name, place in places.items()]


def stage(name: str, place: Tensor, sources: dict[str, Tensor], uses: set[str]) -> Stage:
    """The Jacobians of one place with respect to everything that reaches it linearly."""
    eye = torch.eye(place.shape[1], dtype=place.dtype, device=place.device)
    jacobians = cast(
        "tuple[Tensor | None, ...]",
        torch.autograd.grad(
            place,
            list(sources.values()),
            eye[:, None],
            retain_graph=True,
            allow_unused=True,
            is_grads_batched=True,
        ),
    )
    reached = {
        source: jacobian[:, 0]
        for source, jacobian in zip(sources, jacobians, strict=True)
        if jacobian is not None
    }
    calls = {source: map for source, map in reached.items() if source not in uses}
    direct = len(reached) == 1 and any(torch.equal(map, eye) for map in calls.values())
    return Stage(
        name,
        place.shape[1],
        {source: map for source, map in reached.items() if source in uses},
        calls,
        direct,
    )


def nonlinear_calls(graph: Graph) -> list[str] | None:
    """The elementwise nonlinear calls on values that depend on the input, in order.

    Returns:
        None where some other nonlinear call does.
    """
    dependent = {graph.input}
    nonlinear: list[str] = []
    for node in graph.nodes:
        count = sum(name in dependent for name in names_in([node.args, *node.kwargs.values()]))
        if count == 0 or node.op == "aten.sym_size.int":
            continue
        dependent.add(node.name)
        if node.op in ELEMENTWISE:
            nonlinear.append(node.name)
        elif not is_affine(node, count):
            return None
    return nonlinear


def is_affine(node: Node, dependent: int) -> bool:
    """Whether a call is affine in its arguments that depend on the input, so many of them."""
    return node.op in ADDITIVE or (node.op in MULTILINEAR and dependent == 1)
