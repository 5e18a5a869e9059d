"""Effects of parts through one use of a weight, by the cheaper of two ways, and of components.

At a use with input x and output gradient g the effect of a part p is
sum_m read(x)[p, m] * adjoint(g)[p, m], which is <slope(x, g), U[p]^T V[p]> too. That of a component
is the sum over its parts, at all uses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from apd.components import Components
from apd.hooks import Capture
from apd.routes import effects_through_weights, projections
from apd.sites import Factors, Use


@dataclass(frozen=True)
class Effects(ABC):
    """Effects of parts through one use, from the gradients at its output.

    Attributes:
        use: the call.
        x: the vectors its weight was applied to, [n, ..., a].
        factors: the parts at its site.
    """

    use: Use
    x: Tensor
    factors: Factors

    @property
    @abstractmethod
    def numbers(self) -> int:
        """How many numbers it takes to work them out for one scalar."""

    @abstractmethod
    def __call__(self, g: Float[Tensor, "k n ..."]) -> Float[Tensor, "k n P"]:
        """Effects on k scalars."""


class ThroughParts(Effects):
    """Sum over positions and m of read times adjoint."""

    @cached_property
    def read(self) -> Float[Tensor, "n ... P m"]:
        """What is the same for all scalars."""
        return self.use.read(self.x, self.factors)

    @property
    def numbers(self) -> int:
        """As many as are read."""
        return self.read.numel()

    def __call__(self, g: Float[Tensor, "k n ..."]) -> Float[Tensor, "k n P"]:
        """Effects on k scalars."""
        parts = torch.einsum("n...m,kn...m->kn...", self.read, self.use.adjoint(g, self.factors))
        return parts.flatten(2, -2).sum(2) if parts.ndim > 3 else parts


class ThroughWeights(Effects):
    """Inner products of parts' weights with the gradient at every input's own weight."""

    @property
    def numbers(self) -> int:
        """As many as the larger of the weights and the vectors of all inputs have."""
        size = self.factors.U.shape[2] * self.factors.V.shape[2]
        return max(len(self.x) * size, self.x.numel())

    def __call__(self, g: Float[Tensor, "k n ..."]) -> Float[Tensor, "k n P"]:
        """Effects on k scalars."""
        return projections(self.use.slope(self.x, g), self.factors)


def effects_of(
    components: Components, captures: Sequence[Capture], gradients: Sequence[Tensor]
) -> Float[Tensor, "k n C"]:
    """Effects of components on k scalars, from their gradients at the output of every use."""
    ways = [effects_at(seen, components.factors[seen.use.site]) for seen in captures]
    return summed(components, ways, gradients)


def summed(
    components: Components, ways: Sequence[Effects], gradients: Sequence[Tensor]
) -> Float[Tensor, "k n C"]:
    """The same, given a way to the effects through every use."""
    effects = gradients[0].new_zeros(*gradients[0].shape[:2], components.count)
    for way, g in zip(ways, gradients, strict=True):
        effects.index_add_(2, components.owners[way.use.site], way(g))
    return effects


def effects_at(capture: Capture, factors: Factors) -> Effects:
    """The cheaper way to the effects through one use."""
    use, x, _ = capture
    way = ThroughWeights if effects_through_weights(use, x, factors) else ThroughParts
    return way(use, x, factors)
