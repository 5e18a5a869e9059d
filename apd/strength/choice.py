"""Which way to work out strengths takes fewest multiplications."""

from __future__ import annotations

from jaxtyping import Shaped
from torch import Tensor

from apd.components import Components
from apd.strength.affine import stages
from apd.strength.backward import Backward, Projected
from apd.strength.forward import Forward
from apd.strength.strength import Strength
from apd.target import Target

MOST_PASSES = 64
PROJECTIONS = 8


def strength_of(
    target: Target,
    components: Components,
    row: Shaped[Tensor, "1 *shape"],
    projections: int | None,
) -> Strength:
    """The way asked for, else the exact way with fewer multiplications per pair.

    Args:
        target: the network.
        components: any of the sizes meant.
        row: any one input.
        projections: how many random projections to estimate from; None: be exact, but for a target
            of more than `MOST_PASSES` outputs that each take a backward pass: estimate it from
            `PROJECTIONS`.
    """
    if projections is not None:
        return Projected(target, projections)
    d = target(row).shape[1]
    backward_way = Projected(target, PROJECTIONS) if d > MOST_PASSES else Backward(target)
    places = stages(target, row)
    if places is None:
        return backward_way
    ranks = {use.node: components.factors[use.site].U.shape[1] for use in target.uses}
    between = sum(jacobian.numel() for p in places if not p.direct for jacobian in p.calls.values())
    gradients = sum(
        {node: ranks[node] * map.shape[1] for p in places for node, map in p.uses.items()}.values()
    )
    backward = d * (gradients + between / components.count)
    forward_way = Forward(target, places)
    return forward_way if forward_way.multiplications(ranks) < backward else backward_way
