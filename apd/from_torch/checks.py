"""What a target must be beyond a graph that runs: every input with numbers of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from apd.errors import TargetError
from apd.from_torch.export import FIXED
from apd.graph import Graph, Handler
from apd.sites import Use

State = Mapping[str, Tensor]

# of two inputs, in an order that is another one backwards
SOME = [0, 1, 1]


def check_outputs(graph: Graph, state: State, two: Shaped[Tensor, "2 *shape"]) -> None:
    """Refuse outputs that are not one vector of finite floats per input, of that input alone."""
    try:
        with torch.no_grad():
            together = graph.run(state, two[SOME], {})
            alone = torch.cat([graph.run(state, row[None], {}) for row in two])
    except (RuntimeError, IndexError) as error:
        raise TargetError(FIXED) from error
    if together.ndim != 2 or len(together) != len(SOME) or not together.is_floating_point():
        raise TargetError(
            f"the target's output for {len(SOME)} inputs is {together.dtype} of shape "
            f"{tuple(together.shape)}; one vector of floats per input, [{len(SOME)}, d], is needed"
        )
    if not bool(torch.isfinite(alone).all()):
        raise TargetError("the target returns NaN or infinity for the first inputs")
    if differ(together, alone[SOME]):
        raise TargetError(
            "the target's output for an input depends on which others it is run with, as batch "
            "statistics do; every input must have its own (BatchNorm with track_running_stats has)"
        )


def check_uses(
    graph: Graph, state: State, uses: Sequence[Use], two: Shaped[Tensor, "2 *shape"]
) -> None:
    """Refuse a target that applies a weight to anything but vectors of each input's own."""
    together = operands(graph, state, uses, two[SOME])
    alone = [operands(graph, state, uses, row[None]) for row in two]
    for use in uses:
        operand, own = together[use.node], [rows[use.node] for rows in alone]
        if len(operand) != len(SOME) or differ(operand, torch.cat(own)[SOME]):
            raise TargetError(
                f"the weight {use.site} is applied to a tensor of shape {tuple(operand.shape)} for "
                f"{len(SOME)} inputs; its first axis must be theirs, each with vectors of its own"
            )


def operands(
    graph: Graph, state: State, uses: Sequence[Use], x: Shaped[Tensor, "n *shape"]
) -> dict[str, Tensor]:
    """What every use's weight is applied to, by the use's node."""
    found: dict[str, Tensor] = {}

    def look(use: Use) -> Handler:
        def call(operator: Callable[..., Tensor], *args: Any) -> Tensor:
            found[use.node], _ = use.operands(args)
            return operator(*args)

        return call

    with torch.no_grad():
        graph.run(state, x, {use.node: look(use) for use in uses})
    return found


def differ(x: Float[Tensor, "*s"], y: Float[Tensor, "*s"]) -> bool:
    """Whether numbers differ by more than rounding."""
    rounding = torch.finfo(x.dtype).eps ** 0.5 * y.abs().max()
    return bool(((x - y).abs() > rounding).any())
