"""Components out of the parts of every weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from apd.components import Components
from apd.config import Config
from apd.reference import spread_over
from apd.sites import Factors
from apd.target import Target
from apd.together import together
from apd.usage import Usage, per_input

ROWS = 4096


class Found(NamedTuple):
    """What was found in one weight.

    Attributes:
        factors: its parts; some may be zero.
        active: how many an input uses on average.
        kind: what those that are read are: "trained", one of `apd.simplest.KINDS`, or "directions",
            singular ones, of a weight that is not trained.
    """

    factors: Factors
    active: float
    kind: str


def assembled(
    target: Target, x: Shaped[Tensor, "n *shape"], found: Mapping[str, Found], config: Config
) -> tuple[Components, float]:
    """The components that the parts of all weights make up, and how many an input uses.

    Args:
        target: the network.
        x: inputs that say which parts are used together; no more than `ROWS` are looked at.
        found: per site.
        config: the settings.
    """
    some, share = spread_over(x, ROWS), config.exactness / len(found)
    living = {
        site: Components.of({site: own.factors}).living().components for site, own in found.items()
    }
    fewest: list[Bool[Tensor, "n P"]] = []
    enough: list[Bool[Tensor, "n P"]] = []
    for site, parts in living.items():
        usage, most = Usage(target.alone(site), parts, some, config), found[site].active
        fewest.append(usage.needed(most, share * usage.without))
        enough.append(usage.strongest(most))
    ranks = torch.cat([parts.ranks() for parts in living.values()])
    any_two = torch.ones(len(ranks), len(ranks), dtype=torch.bool)
    owner = together(torch.cat(fewest, dim=1), ranks, 1.0, any_two)
    counts = [parts.count for parts in living.values()]
    components = Components(
        {site: parts.factors[site] for site, parts in living.items()},
        dict(zip(living, owner.split(counts), strict=True)),
    )
    least = components_used(torch.cat(enough, dim=1), owner)
    return components, Usage(target, components, some, config).enough(least)


def components_used(parts: Bool[Tensor, "n P"], owner: Int[Tensor, "P"]) -> float:
    """How many components have parts that an input uses, on average.

    Args:
        parts: which parts inputs use.
        owner: the component of every part.
    """
    used = torch.zeros(len(parts), len(owner), device=owner.device)
    used.index_add_(1, owner, parts.to(used))
    return per_input(used > 0)
