"""Components out of the parts of every weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from apd.batch_sizes import rows_at_once
from apd.components import Components, whole_network
from apd.hooks import capture
from apd.reference import spread_over
from apd.sites import Factors
from apd.strength import row_strengths
from apd.target import Target
from apd.together import together
from apd.training.masks import batch_topk
from apd.training.scales import sample

ROWS = 4096


class Found(NamedTuple):
    """What was found in one weight.

    Attributes:
        factors: its parts; some may be zero.
        active: how many an input uses on average.
    """

    factors: Factors
    active: float


def assembled(
    target: Target, x: Shaped[Tensor, "n *shape"], found: Mapping[str, Found]
) -> tuple[Components, float]:
    """The components that the parts of all weights make up, and how many an input uses.

    Args:
        target: the network.
        x: inputs that say which parts are used together; no more than `ROWS` are looked at.
        found: per site.
    """
    some = spread_over(x, ROWS)
    living = {
        site: Components.of({site: own.factors}).living().components for site, own in found.items()
    }
    used = torch.cat(
        [
            strongest(strengths(target.alone(site), parts, some), found[site].active)
            for site, parts in living.items()
        ],
        dim=1,
    )
    ranks = torch.cat([parts.ranks() for parts in living.values()])
    owner = together(used, ranks.to(target.device))
    counts = [parts.count for parts in living.values()]
    components = Components(
        {site: parts.factors[site] for site, parts in living.items()},
        dict(zip(living, owner.split(counts), strict=True)),
    )
    by_component = torch.zeros(len(used), components.count, device=used.device)
    by_component.index_add_(1, owner, used.to(by_component))
    return components, float((by_component > 0).sum(1).double().mean())


def attributable(target: Target, x: Shaped[Tensor, "n *shape"]) -> bool:
    """Whether the decomposed weights have any effect at first order."""
    return bool(strengths(target, whole_network(target), sample(target, x)).any())


def strengths(
    target: Target, components: Components, x: Shaped[Tensor, "n *shape"]
) -> Float[Tensor, "n C"]:
    """A_c(x), every row's a function of that row alone (`apd.strength.row_strengths`)."""
    at_once = rows_at_once(target, components.numbers_read)
    blocks = (capture(target, rows) for rows in x.split(at_once))
    return torch.cat([row_strengths(*block, components) for block in blocks])


def strongest(strengths: Float[Tensor, "n C"], active: float) -> Bool[Tensor, "n C"]:
    """The strongest pairs, so many per input on average; never those without an effect."""
    k = min(strengths.numel(), round(active * len(strengths)))
    return batch_topk(strengths, k) & (strengths > 0)
