"""A weight's own rows or columns as its parts.

A row is what one neuron reads, a column all that one number is written to. A network that does one
thing per neuron is simplest that way, and where neurons are off behind a threshold no gradient
leads there. Rows on one line, or columns, have a rank of one between them, and are one part where
inputs use them together.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from apd.activity import strengths
from apd.assembly import ROWS
from apd.components import Components
from apd.config import Config
from apd.reference import spread_over
from apd.sites import Factors
from apd.target import Target
from apd.together import together
from apd.training.exercise import LARGEST
from apd.training.scales import typical_size
from apd.training.settling import merge

ONE_LINE = 1 - 1e-6


def own_rows(
    target: Target, x: Shaped[Tensor, "n *shape"], most: int, config: Config
) -> Components | None:
    """The rows of a target's only weight, those on one line put together (`lines`)."""
    return lines(rows, target, x, most, config)


def own_columns(
    target: Target, x: Shaped[Tensor, "n *shape"], most: int, config: Config
) -> Components | None:
    """The columns of a target's only weight, those on one line put together (`lines`)."""
    return lines(columns, target, x, most, config)


def lines(
    single: Callable[[Tensor], Factors],
    target: Target,
    x: Shaped[Tensor, "n *shape"],
    most: int,
    config: Config,
) -> Components | None:
    """Single lines of a target's only weight, those on one line put together.

    Args:
        single: a part for every line of a weight.
        target: the network, with one weight alone.
        x: inputs that say which are used together; no more than `ROWS` are looked at.
        most: how many parts there may be.
        config: the settings.

    Returns:
        None of a weight of a side of more than `LARGEST`, nor where more parts are left than there
        may be.
    """
    ((name, site),) = target.sites.items()
    if max(site.shape) > LARGEST:
        return None
    parts = Components.of({name: single(target.weight(name))}).living().components
    alike = on_one_line(parts.factors[name])
    if len(alike.int().argmax(1).unique()) <= most:
        parts = put_together(target, parts, alike, spread_over(x, ROWS), config)
    return parts if parts.count <= most else None


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
    own, units = rows(weight.T)
    return Factors(units, own)


def on_one_line(parts: Factors) -> Bool[Tensor, "P P"]:
    """Which parts of rank one have a sum of rank one: they read along one line, or write so."""
    sides = (F.normalize(tensor[:, 0], dim=1) for tensor in parts)
    return torch.stack([(side @ side.T).abs() >= ONE_LINE for side in sides]).any(0)
