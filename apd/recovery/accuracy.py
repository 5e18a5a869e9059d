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
    """||theta* - sum_c P_c|| / ||theta*||, at every site and in all."""
    gaps = {site: gap.norm() for site, gap in components.residual(target).items()}
    norms = {site: target.weight(site).norm() for site in gaps}
    missing, whole = (torch.stack(list(of.values())).norm() for of in (gaps, norms))
    return Faithfulness(
        {site: (gaps[site] / norms[site]).item() for site in gaps}, (missing / whole).item()
    )


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
    return losses.mean().item() / output_variance(target, x)


def output_variance(target: Target, x: Shaped[Tensor, "n *shape"]) -> float:
    """Variance of the target's outputs over inputs, its mean over outputs."""
    return target(x).var(0, correction=0).mean().item()
