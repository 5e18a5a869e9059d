"""Effects of components through one use of a weight, by the cheaper of two ways.

At a use with input x and output gradient g the effect of component c is
sum_m read(x)[c, m] * adjoint(g)[c, m], which is <slope(x, g), P_c> too.
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
    """Effects of components through one use, from the gradients at its output.

    Attributes:
        use: the call.
        x: the vectors its weight was applied to, [n, ..., a].
        factors: of the components at its site.
    """

    use: Use
    x: Tensor
    factors: Factors

    @property
    @abstractmethod
    def numbers(self) -> int:
        """How many numbers it takes to work them out for one scalar."""

    @abstractmethod
    def __call__(self, g: Float[Tensor, "k n ..."]) -> Float[Tensor, "k n C"]:
        """Effects on k scalars."""


class ThroughParts(Effects):
    """Sum over positions and m of read times adjoint."""

    @cached_property
    def read(self) -> Float[Tensor, "n ... C m"]:
        """What is the same for all scalars."""
        return self.use.read(self.x, self.factors)

    @property
    def numbers(self) -> int:
        """As many as are read."""
        return self.read.numel()

    def __call__(self, g: Float[Tensor, "k n ..."]) -> Float[Tensor, "k n C"]:
        """Effects on k scalars."""
        parts = torch.einsum("n...m,kn...m->kn...", self.read, self.use.adjoint(g, self.factors))
        return parts.flatten(2, -2).sum(2) if parts.ndim > 3 else parts


class ThroughWeights(Effects):
    """Inner products of components' weights with the gradient at every input's own weight."""

    @property
    def numbers(self) -> int:
        """As many as the larger of the weights and the vectors of all inputs have."""
        size = self.factors.U.shape[2] * self.factors.V.shape[2]
        return max(len(self.x) * size, self.x.numel())

    def __call__(self, g: Float[Tensor, "k n ..."]) -> Float[Tensor, "k n C"]:
        """Effects on k scalars."""
        return projections(self.use.slope(self.x, g), self.factors)


def effects_of(
    components: Components, captures: Sequence[Capture], gradients: Sequence[Tensor]
) -> Float[Tensor, "k n C"]:
    """Effects of components on k scalars, from their gradients at the output of every use."""
    by_use = [
        effects_at(seen, components.factors[seen.use.site])(g)
        for seen, g in zip(captures, gradients, strict=True)
    ]
    return torch.stack(by_use).sum(0)


def effects_at(capture: Capture, factors: Factors) -> Effects:
    """The cheaper way to the effects through one use."""
    use, x, _ = capture
    way = ThroughWeights if effects_through_weights(use, x, factors) else ThroughParts
    return way(use, x, factors)
