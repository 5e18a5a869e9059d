"""What a weight is made of: what training found, or what is simpler.

Rows, columns and sources are held against what training found by names and sizes: over trusted
inputs,

    sum_p s_p(x) (1 + (||P_p|| / size of a typical mechanism)^p)        in names,

p as in the simplicity loss, with as few parts in use as explain the outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from apd.assembly import ROWS, Found
from apd.components import Components
from apd.config import Config
from apd.neurons import own_columns, own_rows
from apd.reference import spread_over
from apd.sites import Factors
from apd.sources import sources
from apd.target import Target
from apd.training import losses
from apd.training.scales import typical_size
from apd.training.state import MOST
from apd.usage import Usage

KINDS: Mapping[str, Callable[[Target, Tensor, int, Config], Components | None]] = {
    "rows": own_rows,
    "columns": own_columns,
    "sources": sources,
}
WORTH = 0.98
LAX = 10


class Account(NamedTuple):
    """How long an account of what inputs use is.

    Attributes:
        names: that the parts of an input take on average; infinite where they explain too little.
        active: how many parts that is.
    """

    names: float
    active: float


def simplest(
    target: Target, x: Shaped[Tensor, "n *shape"], trained: Found, config: Config
) -> Found:
    """What training found, or parts of another kind whose account is shorter by a fiftieth.

    By less it is not known. They explain the outputs as far as training aimed at, or as far as it
    came where that leaves no more than `LAX` times as much. There may be as many as training looks
    for, or as it ever does without being told.

    Args:
        target: the network, with one weight alone.
        x: inputs; accounts are of no more than `ROWS`.
        trained: what training found, zero parts and all.
        config: the settings.
    """
    some = spread_over(x, ROWS)
    usage = Usage(target, living(target, trained.factors), some, config)
    aim = config.exactness * usage.without
    allowed = max(aim, min(usage.loss(trained.active), LAX * aim))
    best, least = trained, WORTH * account(usage, trained.active, allowed).names
    most = max(len(trained.factors.U), MOST)
    for kind, parts_of in KINDS.items():
        parts = parts_of(target, x, most, config)
        if parts is None:
            continue
        usage = Usage(target, parts, some, config)
        own = account(usage, usage.affecting, allowed)
        if own.names < least:
            best = Found(among_zeros(target, parts, trained.factors), own.active, kind)
            least = WORTH * own.names
    return best


def account(usage: Usage, most: float, allowed: float) -> Account:
    """The account of as few parts as explain the outputs.

    Args:
        usage: of the parts of one weight.
        most: how many parts of an input there may be.
        allowed: what may be left of the loss of the outputs.
    """
    if usage.loss(most) > allowed:
        return Account(math.inf, most)
    active, power = usage.fewest(most, allowed), usage.config.schatten_p
    used = usage.strongest(active)
    sizes = losses.complexity(losses.sizes(usage.components), power)
    names = used.to(sizes).mean(0) @ (1 + sizes / typical_size(usage.target) ** power)
    return Account(float(names), active)


def among_zeros(target: Target, parts: Components, slots: Factors) -> Factors:
    """Parts of rank one of a target's only site, in the shape of others, and zeros.

    As many in all, or more where what is not read would find no room
    (`apd.training.settling.set_apart`).

    Args:
        target: the network.
        parts: none of them zero.
        slots: parts of the shape to give them.
    """
    ((name, site),) = target.sites.items()
    count, rank = len(slots.U), slots.U.shape[1]
    room = max(count, parts.count + min(site.shape))
    return Factors(*(with_zeros(t, rank, room) for t in parts.factors[name]))


def with_zeros(
    vectors: Float[Tensor, "P 1 d"], rank: int, count: int
) -> Float[Tensor, "{count} {rank} d"]:
    """The vectors of parts of rank one, and zeros up to a rank and a count."""
    return F.pad(vectors, (0, 0, 0, rank - 1, 0, count - len(vectors)))


def living(target: Target, parts: Factors) -> Components:
    """The parts that are not zero, each a component of its own."""
    return Components.of(dict.fromkeys(target.sites, parts)).living().components
