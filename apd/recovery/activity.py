"""Which components inputs use, and how many of them a mechanism takes."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from apd.components import Components
from apd.store import Saved
from apd.strength import strength_of
from apd.training.objectives.batch_topk import active_sets


def active_components(run: Saved, x: Shaped[Tensor, "n *shape"]) -> Bool[Tensor, "n C"]:
    """Each input's active components, as many as in the last step of training.

    Batch top-k (APD, arXiv 2501.14926, section 2.2), whatever the objective was: the inputs of one
    batch, of the size trained with and taken in order, compete for those.
    """
    strength = strength_of(run.target, run.components, x[:1], run.config.projections)
    generator = torch.Generator().manual_seed(run.config.seed)
    with torch.no_grad():
        masks = [
            active_sets(strength, run.components, batch, run.steps[-1].active, generator)[1]
            for batch in x.split(run.config.batch_size)
        ]
    return torch.cat(masks)


def dead(components: Components) -> Bool[Tensor, "C"]:
    """Which components hold no weights to speak of: those of effective rank 0."""
    return components.ranks() == 0


def shares(active: Bool[Tensor, "n C"], exercised: Bool[Tensor, "n k"]) -> Float[Tensor, "k C"]:
    """How often each component is active on the inputs that exercise a mechanism and no other.

    Args:
        active: each input's active components.
        exercised: the mechanisms (or features) that each input exercises. One that always comes
            with others is never alone, and is left out.

    Returns:
        Shares of those inputs; NaN for a mechanism that no input exercises alone.
    """
    alone = (exercised & (exercised.sum(1, keepdim=True) == 1)).double()
    return alone.T @ active.double() / alone.sum(0)[:, None]


def components_per_mechanism(shares: Float[Tensor, "k C"], above: float = 0.5) -> Int[Tensor, "k"]:
    """How many components are active on more than a share of the inputs of one mechanism."""
    return (shares > above).sum(1)


def participation(shares: Float[Tensor, "k C"]) -> Float[Tensor, "k"]:
    """(sum_c s_c)^2 / sum_c s_c^2: how many components it would be if all had equal shares."""
    return shares.sum(1).square() / shares.square().sum(1)
