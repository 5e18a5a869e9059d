"""Two ways to the same numbers at a use, and which is cheaper.

Through parts: what every rank-one part reads at every position, and what it writes there. Through
weights: with a small matrix of every input's own, in which parts are mixed (the masked pass)
or positions summed up (attributions) first. Parts are cheaper for a large weight that is applied
to few vectors, weights for a small one that is applied to many, as in convolutions.

Costs are in multiplications, and depend on sizes alone. Writing what parts move at a position and
reading it again counts as `WRITING` of them, as measured where it does not fit the cache.
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor

from apd.pairs import Pairs, cost
from apd.products import product
from apd.sites import Factors, Use

WRITING = 32


def masked_through_weights(
    use: Use, x: Float[Tensor, "n ... a"], factors: Factors, pairs: Pairs
) -> bool:
    """Whether a masked call is cheaper through weights."""
    P, m, o = factors.U.shape
    (n, *positions, a), b = x.shape, use.width(factors)
    by_part = cost(n * len(pairs.busy), pairs.rows.numel(), m) * (a + b)
    by_weight = n * a * b
    to_mix = n * P * o * factors.V.shape[2]
    return to_mix + math.prod(positions) * by_weight < math.prod(positions) * by_part


def effects_through_weights(use: Use, x: Float[Tensor, "n ... a"], factors: Factors) -> bool:
    """Whether first-order effects are cheaper through weights; with one vector they never are."""
    P, m, o = factors.U.shape
    (_, *positions, a), b = x.shape, use.width(factors)
    by_part = P * m * (b + WRITING)
    to_project = P * o * factors.V.shape[2]
    return bool(positions) and to_project + math.prod(positions) * a * b < (
        math.prod(positions) * by_part
    )


def weights(factors: Factors) -> Float[Tensor, "P o i"]:
    """Every part's weights."""
    return factors.U.mT @ factors.V


def mixtures(mask: Float[Tensor, "n P"], factors: Factors) -> Float[Tensor, "n o i"]:
    """Every input's own sum of parts."""
    every = weights(factors)
    return product(mask, every.flatten(1).T).unflatten(1, every.shape[1:])


def projections(slopes: Float[Tensor, "k n o i"], factors: Factors) -> Float[Tensor, "k n P"]:
    """Inner products of matrices with every part's weights."""
    return product(slopes.flatten(2), weights(factors).flatten(1))


def through_weights(
    mask: Float[Tensor, "n P"], slopes: Float[Tensor, "n o i"], factors: Factors
) -> Factors:
    """The gradient of sum(slopes * mixtures(mask)) with respect to the factors."""
    by_weights = (mask.T @ slopes.flatten(1)).unflatten(1, slopes.shape[1:])
    return Factors(factors.V @ by_weights.mT, factors.U @ by_weights)
