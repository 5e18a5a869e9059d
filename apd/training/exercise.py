"""Which directions of a weight the reference exercises, and which it leaves alone.

No loss but faithfulness sees a part of the weights that no reference input reads, or whose output
no reference input uses. Any component could hold it, and so many hold a little of it. Taken away
from all that are used, it can be given to components of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from apd.block import numbers_of, rows_that_fit
from apd.hooks import capture
from apd.output_gradients import random_signs
from apd.reference import spread_over
from apd.sites import Factors, Site
from apd.target import Target

ROWS = 4096
ROWS_AT_ONCE = 128
LARGEST = 2048
UNEXERCISED = 1e-4


class Sides(NamedTuple):
    """A matrix for either side of a site's components.

    Attributes:
        U: for the vectors that meet U.
        V: for the vectors that meet V.
    """

    U: Float[Tensor, "o o"]
    V: Float[Tensor, "i i"]


def exercised(
    target: Target, x: Shaped[Tensor, "n *shape"], generator: torch.Generator
) -> dict[str, Sides]:
    """Per site and side, the projection on the directions that inputs exercise.

    Args and sites are those of `moments`.
    """
    return projections(moments(target, x, generator))


def moments(
    target: Target, x: Shaped[Tensor, "n *shape"], generator: torch.Generator
) -> dict[str, Sides]:
    """Sums of v v^T over what a weight reads, and over the gradients at what it writes.

    They run over inputs, positions and uses.

    The gradients are of one random projection of the outputs per input, so that the sums are in
    the mean those of all outputs together (`apd.attribution.projected_attributions`).

    Args:
        target: the network.
        x: inputs; no more than `ROWS` are used.
        generator: of the projections.

    Returns:
        Per site; those with a side of more than `LARGEST` are left out.
    """
    bases = {
        name: unit_vectors(site, target)
        for name, site in target.sites.items()
        if max(site.shape) <= LARGEST
    }
    totals = {s: Sides(*(f.new_zeros(len(f), len(f)) for f in b)) for s, b in bases.items()}
    at_once = min(ROWS_AT_ONCE, rows_that_fit(2 * numbers_of(target)))
    for rows in spread_over(x, ROWS).split(at_once):
        outputs, captures = capture(target, rows)
        (signs,) = random_signs(1, outputs, generator)
        places = [c.y for c in captures]
        gradients = torch.autograd.grad(outputs, places, signs, materialize_grads=True)
        for g, (use, vectors, _) in zip(gradients, captures, strict=True):
            if use.site in bases:
                basis = bases[use.site]
                met = use.sides(use.read(vectors, basis), use.adjoint(g, basis))
                for total, side in zip(totals[use.site], met, strict=True):
                    met_by = side.reshape(-1, len(total))
                    total.addmm_(met_by.T, met_by)
    return totals


def unit_vectors(site: Site, target: Target) -> Factors:
    """Factors whose reads and adjoints are the vectors themselves."""
    o, i = site.shape
    weight = target.weight(site.name)
    return Factors(*(torch.eye(d).to(weight)[:, None] for d in (o, i)))


def projections(found: Mapping[str, Sides]) -> dict[str, Sides]:
    """Per site and side, the projection [d, d] on the directions that are exercised.

    Left out are the least exercised directions, which make up `UNEXERCISED` of the mean square
    between them.
    """
    return {site: Sides(*map(projection, sides)) for site, sides in found.items()}


def projection(moment: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """On the eigenvectors of the largest eigenvalues."""
    values, vectors = torch.linalg.eigh(moment)
    share = values.clamp_min(0).cumsum(0) / values.clamp_min(0).sum()
    inside = vectors[:, share > UNEXERCISED]
    return inside @ inside.T
