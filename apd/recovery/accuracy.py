"""What the components together, and the active ones alone, leave out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from apd.components import Components
from apd.recovery.scrubbing import sparse_losses
from apd.target import Target


class Faithfulness(NamedTuple):
    """The residual's norm over the weight's; 0 is faithful.

    Attributes:
        sites: of every site.
        overall: of all sites as one vector.
    """

    sites: dict[str, float]
    overall: float


def faithfulness(target: Target, components: Components) -> Faithfulness:
    """||theta* - sum_c P_c|| / ||theta*||, at every site and in all; 0 of no weights at all."""
    gaps = torch.stack([gap.norm() for gap in components.residual(target).values()])
    norms = torch.stack([target.weight(site).norm() for site in target.sites])
    tiny = torch.finfo(norms.dtype).tiny
    shares = gaps / norms.clamp_min(tiny)
    overall = gaps.norm() / norms.norm().clamp_min(tiny)
    return Faithfulness(dict(zip(target.sites, shares.tolist(), strict=True)), overall.item())


def sparse_error(
    target: Target,
    components: Components,
    x: Shaped[Tensor, "n *shape"],
    active: Bool[Tensor, "n C"],
) -> float:
    """Mean squared error of the outputs on the active components alone, over their variance.

    0 is exact; 1 is as good as answering with the mean output.
    """
    losses = sparse_losses(target, components, x, active)
    return losses.mean().item() / max(output_variance(target, x), torch.finfo(target.dtype).tiny)


def output_variance(target: Target, x: Shaped[Tensor, "n *shape"]) -> float:
    """Variance of the target's outputs over inputs, its mean over outputs."""
    return target(x).var(0, correction=0).mean().item()
