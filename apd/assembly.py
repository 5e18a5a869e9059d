"""Components out of the parts of every weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from apd.activity import strengths, strongest
from apd.batch_sizes import rows_at_once
from apd.components import Components
from apd.config import Config
from apd.masked import masked_outputs
from apd.pairs import Pairs
from apd.reference import spread_over
from apd.sites import Factors
from apd.target import Target
from apd.together import together
from apd.training.losses import OUTPUT_LOSSES
from apd.training.scales import missing, sample

ROWS = 4096
MORE = 1.5
HALVINGS = 8


class Found(NamedTuple):
    """What was found in one weight.

    Attributes:
        factors: its parts; some may be zero.
        active: how many an input uses on average.
    """

    factors: Factors
    active: float


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
        alone, most = target.alone(site), found[site].active
        used = strengths(alone, parts, some)
        few = fewest_of(alone, parts, some, used, most, share, config)
        fewest.append(strongest(used, few))
        enough.append(strongest(used, most))
    ranks = torch.cat([parts.ranks() for parts in living.values()])
    owner = together(torch.cat(fewest, dim=1), ranks)
    counts = [parts.count for parts in living.values()]
    components = Components(
        {site: parts.factors[site] for site, parts in living.items()},
        dict(zip(living, owner.split(counts), strict=True)),
    )
    least = components_used(torch.cat(enough, dim=1), owner)
    return components, enough_of(target, components, some, least, config)


def components_used(parts: Bool[Tensor, "n P"], owner: Int[Tensor, "P"]) -> float:
    """How many components have parts that an input uses, on average.

    Args:
        parts: which parts inputs use.
        owner: the component of every part.
    """
    used = torch.zeros(len(parts), len(owner), device=owner.device)
    used.index_add_(1, owner, parts.to(used))
    return float((used > 0).sum(1).float().mean())


def fewest_of(
    target: Target,
    parts: Components,
    x: Shaped[Tensor, "n *shape"],
    found: Float[Tensor, "n P"],
    most: float,
    inexact: float,
    config: Config,
) -> float:
    """How many parts of a weight an input needs on average to explain the outputs.

    Training ends with enough for nearly every batch, and batches differ in how many they ask for.

    Args:
        target: the network, with this weight alone.
        parts: of it.
        x: inputs.
        found: the strengths of the parts on them.
        most: how many training ended with: the answer where fewer do not explain as much.
        inexact: what may be left of the loss of the outputs without the weight.
        config: the settings.
    """
    allowed = inexact * without(target, x, config)
    low, high = 0.0, most
    for _ in range(HALVINGS):
        between = (low + high) / 2
        if loss_on(target, parts, x, strongest(found, between), config) <= allowed:
            high = between
        else:
            low = between
    return high


def enough_of(
    target: Target,
    components: Components,
    x: Shaped[Tensor, "n *shape"],
    least: float,
    config: Config,
) -> float:
    """How many components an input uses: so many, or more while these leave much unexplained.

    Much is more than `Config.separation`. Weights that explain enough one by one may leave more
    together, where a threshold magnifies what each leaves.
    """
    found = strengths(target, components, x)
    allowed = config.separation * without(target, x, config)
    most = float((found > 0).sum(1).float().mean())
    active = least
    while active < most:
        if loss_on(target, components, x, strongest(found, active), config) <= allowed:
            break
        active = min(most, max(MORE * active, 1 / len(x)))
    return active


def without(target: Target, x: Shaped[Tensor, "n *shape"], config: Config) -> float:
    """The loss of the outputs without any of the decomposed weights."""
    return float(missing(target, sample(target, x), config))


def loss_on(
    target: Target,
    components: Components,
    x: Shaped[Tensor, "n *shape"],
    active: Bool[Tensor, "n C"],
    config: Config,
) -> float:
    """The loss of the outputs on the active components."""
    at_once = rows_at_once(target, components.numbers_read)
    loss = 0.0
    for rows, on in zip(x.split(at_once), active.split(at_once), strict=True):
        outputs = masked_outputs(target, components, rows, Pairs.dense(on, target.dtype))
        loss += len(rows) * float(OUTPUT_LOSSES[config.loss](target(rows), outputs))
    return loss / len(x)
