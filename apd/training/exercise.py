"""Which directions of a weight the reference exercises, and which it leaves alone.

No loss but faithfulness sees a part of the weights that no reference input reads, or whose output
no reference input uses. Any component could hold it, and so many hold a little of it. Taken away
from all that are used, it can be given to components of its own: in training what is read as little
as used (`exercised`), and in the end, when no step can make up for it, what is not read (`read`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from apd.batch_sizes import numbers_of, rows_that_fit
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


class Moments(NamedTuple):
    """Sums of v v^T on either side of a site's components.

    Attributes:
        read: over what the weight reads; zero on a side that no use reads with.
        met: over the gradients at what it writes; zero on a side that no use writes with.
    """

    read: Sides
    met: Sides

    @property
    def both(self) -> Sides:
        """Over all that a side has to do with."""
        return Sides(self.read.U + self.met.U, self.read.V + self.met.V)


def moments(
    target: Target, x: Shaped[Tensor, "n *shape"], generator: torch.Generator
) -> dict[str, Moments]:
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
    totals = {s: Moments(nothing(b), nothing(b)) for s, b in bases.items()}
    at_once = min(ROWS_AT_ONCE, rows_that_fit(2 * numbers_of(target)))
    for rows in spread_over(x, ROWS).split(at_once):
        outputs, captures = capture(target, rows)
        (signs,) = random_signs(1, outputs, generator)
        places = [c.y for c in captures]
        gradients = torch.autograd.grad(outputs, places, signs, materialize_grads=True)
        for g, (use, vectors, _) in zip(gradients, captures, strict=True):
            if use.site in bases:
                basis, total = bases[use.site], totals[use.site]
                reads, _ = use.sides(*total.read)
                _, writes = use.sides(*total.met)
                add_squares(reads, use.read(vectors, basis))
                add_squares(writes, use.adjoint(g, basis))
    return totals


def nothing(basis: Factors) -> Sides:
    """No sums yet."""
    return Sides(*(f.new_zeros(len(f), len(f)) for f in basis))


def add_squares(total: Float[Tensor, "d d"], vectors: Float[Tensor, "... d 1"]) -> None:
    """Add v v^T of every vector, in place."""
    rows = vectors.reshape(-1, len(total))
    total.addmm_(rows.T, rows)


def unit_vectors(site: Site, target: Target) -> Factors:
    """Factors whose reads and adjoints are the vectors themselves."""
    o, i = site.shape
    weight = target.weight(site.name)
    return Factors(*(torch.eye(d).to(weight)[:, None] for d in (o, i)))


def exercised(found: Mapping[str, Moments]) -> dict[str, Sides]:
    """Per site and side, the projection [d, d] on the directions that are exercised.

    Left out are the least exercised directions, which make up `UNEXERCISED` of the mean square
    between them.
    """
    return {site: Sides(*map(projection, own.both)) for site, own in found.items()}


def projection(moment: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """On the eigenvectors of the largest eigenvalues."""
    values, vectors = torch.linalg.eigh(moment)
    inside = vectors[:, least_share(values) > UNEXERCISED]
    return inside @ inside.T


def read(target: Target, found: Mapping[str, Moments]) -> dict[str, Sides]:
    """Per site, the projections on the directions that are read, on the sides that read.

    Left out are the least read directions, which make up `UNEXERCISED` of the mean square between
    them, and no more of what reading makes of the outputs at first order: where outputs are steep,
    little is much. A side that only writes is left as it is.

    Args:
        target: the network.
        found: moments of its inputs.
    """
    sides = {}
    for name, (of_reads, of_writes) in found.items():
        weight = target.weight(name)
        effects = weight @ of_writes.V @ weight.T, weight.T @ of_writes.U @ weight
        every = zip(target.sites[name].reading, of_reads, effects, strict=True)
        sides[name] = Sides(*(reading(m, e) if reads else whole(m) for reads, m, e in every))
    return sides


def whole(like: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """On all directions."""
    return torch.eye(len(like)).to(like)


def reading(
    moment: Float[Tensor, "d d"], sensitivity: Float[Tensor, "d d"]
) -> Float[Tensor, "d d"]:
    """On all directions but the least read; r^T sensitivity r is what reading 1 of r makes."""
    values, vectors = torch.linalg.eigh(moment)
    effects = values * ((sensitivity @ vectors) * vectors).sum(0)
    matters = (least_share(values) > UNEXERCISED) | (least_share(effects) > UNEXERCISED)
    return vectors[:, matters] @ vectors[:, matters].T


def least_share(amounts: Float[Tensor, "d"]) -> Float[Tensor, "d"]:
    """Of all amounts, what each makes up together with those before it."""
    amounts = amounts.clamp_min(0)
    return amounts.cumsum(0) / amounts.sum()
