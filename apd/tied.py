"""What tied weights do not read, left to the residual where the outputs do not need it.

Of other weights it has components of its own (`apd.training.settling.set_apart`). But what one use
of a tied weight never reads, another may write with: a component of it would be one that trusted
inputs use, and what an input reads with it would pass for usual.
"""

from __future__ import annotations

import torch
from jaxtyping import Shaped
from torch import Tensor

from apd.components import Components
from apd.config import Config
from apd.sites import Factors
from apd.target import Target
from apd.training.exercise import Sides, moments, read, whole
from apd.training.losses import OUTPUT_LOSSES
from apd.training.scales import missing, sample
from apd.training.train import generator_of

NEEDLESS = 0.01
ROUNDING = 1e-4


@torch.no_grad()
def spared(
    components: Components, target: Target, x: Shaped[Tensor, "n *shape"], config: Config
) -> Components:
    """The components without what tied weights do not read, one side after the other.

    As long as the outputs hardly change without it: by no more than `NEEDLESS` of their loss
    without the decomposed weights. An embedding that also writes the outputs needs its unread rows.

    Args:
        components: of the network; changed in place.
        target: the network.
        x: inputs.
        config: the settings.
    """
    if not any(site.tied for site in target.sites.values()):
        return components
    found = read(target, moments(target, x, generator_of(config, config.steps)))
    some, weights = sample(target, x), {}
    outputs, allowed = target(some), NEEDLESS * missing(target, some, config)
    for name, both in found.items():
        if target.sites[name].tied:
            weights[name] = target.weight(name)
            for side in each_alone(both):
                less = weights | {name: side.U @ weights[name] @ side.V}
                lost = OUTPUT_LOSSES[config.loss](outputs, target.with_weights(less)(some))
                if bool(lost <= allowed):
                    weights = less
                    project(components.factors[name], side)
    return components.living().components


def project(parts: Factors, side: Sides) -> None:
    """Project the vectors of all parts, in place; a part of which rounding is left is zero."""
    for tensor, projection in zip(parts, side, strict=True):
        inside = tensor @ projection
        left = inside.norm(dim=(1, 2)) > ROUNDING * tensor.norm(dim=(1, 2))
        tensor.copy_(inside * left[:, None, None])


def each_alone(sides: Sides) -> tuple[Sides, Sides]:
    """Projections on one side, the other as it is."""
    return Sides(sides.U, whole(sides.V)), Sides(whole(sides.U), sides.V)
