"""A weight's own rows or columns as its parts, where they are simpler than what training found.

A row is what one neuron reads, a column all that one number is written to. A network that does one
thing per neuron is simplest that way, and where neurons are off behind a threshold no gradient
leads there. So both are held against what training found, by names and sizes: over trusted inputs,

    sum_p s_p(x) (1 + (||P_p|| / size of a typical mechanism)^p)        in names,

p as in the simplicity loss, with as few parts in use as explain the outputs. Rows on one line, or
columns, have a rank of one between them, and are one part where inputs use them together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from apd.activity import strengths
from apd.assembly import ROWS, Found
from apd.components import Components
from apd.config import Config
from apd.reference import spread_over
from apd.sites import Factors
from apd.target import Target
from apd.together import together
from apd.training import losses
from apd.training.exercise import LARGEST
from apd.training.scales import typical_sizes
from apd.training.settling import merge
from apd.training.state import COMPONENTS
from apd.usage import Usage

ONE_LINE = 1 - 1e-6
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
    """What training found, or the rows or columns where their account is shorter by a fiftieth.

    By less it is not known. They explain the outputs as far as training aimed at, or as far as it
    came where that leaves no more than `LAX` times as much.

    Args:
        target: the network, with one weight alone.
        x: inputs; no more than `ROWS` are looked at.
        trained: what training found, zero parts and all.
        config: the settings.
    """
    some = spread_over(x, ROWS)
    usage = Usage(target, living(target, trained.factors), some, config)
    aim = config.exactness * usage.without
    allowed = max(aim, min(usage.loss(trained.active), LAX * aim))
    best, least = trained, WORTH * account(usage, trained.active, allowed).names
    for factors in rows_and_columns(target, some, trained.factors, config):
        usage = Usage(target, living(target, factors), some, config)
        own = account(usage, usage.affecting, allowed)
        if own.names < least:
            best, least = Found(factors, own.active), own.names
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


def rows_and_columns(
    target: Target, x: Shaped[Tensor, "n *shape"], slots: Factors, config: Config
) -> Iterator[Factors]:
    """The rows of a target's only weight, and its columns, those on one line put together.

    Not of a weight of a side of more than `LARGEST`, nor where more parts are left than training
    looks for: as many as `slots`, or as ever without being told.

    Args:
        target: the network, with one weight alone.
        x: inputs that say which are used together.
        slots: parts of the shape to give them, zero at the end: as many in all, or more where what
            is not read would find no room (`apd.training.settling.set_apart`).
        config: the settings.
    """
    ((name, site),) = target.sites.items()
    weight, rank = target.weight(name), slots.U.shape[1]
    most = max(len(slots.U), *COMPONENTS)
    if max(site.shape) > LARGEST:
        return
    for single in (rows(weight), columns(weight)):
        parts = Components.of({name: single}).living().components
        alike = on_one_line(parts.factors[name])
        if len(alike.int().argmax(1).unique()) <= most:
            parts = put_together(target, parts, alike, x, config)
        if parts.count <= most:
            room = max(len(slots.U), parts.count + min(site.shape))
            yield Factors(*(with_zeros(t, rank, room) for t in parts.factors[name]))


def put_together(
    target: Target,
    parts: Components,
    alike: Bool[Tensor, "P P"],
    x: Shaped[Tensor, "n *shape"],
    config: Config,
) -> Components:
    """One part of those on one line that inputs use together, where that shortens the account.

    As though one more input used all of them, so that what no input uses is together too.

    Args:
        target: the network, with one weight alone.
        parts: of rank one; changed in place.
        alike: which are on one line.
        x: inputs.
        config: the settings.
    """
    used = strengths(target, parts, x) > 0
    used = torch.cat([used, torch.ones_like(used[:1])])
    squares = parts.inner_products().diagonal() / typical_size(target) ** 2
    owner = together(used, squares, config.schatten_p / 2, alike).tolist()
    for p, c in enumerate(owner):
        if owner.index(c) != p:
            merge(parts, owner.index(c), p)
    return parts.living().components


def rows(weight: Float[Tensor, "o i"]) -> Factors:
    """Every row as a part."""
    return Factors(torch.eye(len(weight)).to(weight)[:, None], weight[:, None])


def columns(weight: Float[Tensor, "o i"]) -> Factors:
    """Every column as a part."""
    lines, units = rows(weight.T)
    return Factors(units, lines)


def on_one_line(parts: Factors) -> Bool[Tensor, "P P"]:
    """Which parts of rank one have a sum of rank one: they read along one line, or write so."""
    sides = (F.normalize(tensor[:, 0], dim=1) for tensor in parts)
    return torch.stack([(side @ side.T).abs() >= ONE_LINE for side in sides]).any(0)


def with_zeros(
    vectors: Float[Tensor, "P 1 d"], rank: int, count: int
) -> Float[Tensor, "{count} {rank} d"]:
    """The vectors of parts of rank one, and zeros up to a rank and a count."""
    return F.pad(vectors, (0, 0, 0, rank - 1, 0, count - len(vectors)))


def living(target: Target, parts: Factors) -> Components:
    """The parts that are not zero, each a component of its own."""
    return Components.of(dict.fromkeys(target.sites, parts)).living().components


def typical_size(target: Target) -> float:
    """The size of a typical mechanism at a target's only site."""
    (size,) = typical_sizes(target).values()
    return size
