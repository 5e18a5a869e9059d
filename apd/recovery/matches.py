"""A matching of known mechanisms with components, and the figures read off it."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor

NOBODY = -1
LENGTHS = (0.8, 1.25)


class Matches(NamedTuple):
    """For every mechanism (or, of columns, every input feature) k, the component it goes with.

    Attributes:
        component: its index; `NOBODY` where none is left for k.
        cosine: between the two; 0 where either is zero.
        length_ratio: the component's norm over the mechanism's; 0 where there is none.
    """

    component: Int[Tensor, "k"]
    cosine: Float[Tensor, "k"]
    length_ratio: Float[Tensor, "k"]

    @property
    def mmcs(self) -> float:
        """Mean of the cosines; 1 is perfect direction."""
        return self.cosine.mean().item()

    @property
    def ml2r(self) -> float:
        """Mean of the relative lengths; 1 is no shrinkage."""
        return self.length_ratio.mean().item()

    @property
    def distinct(self) -> int:
        """How many different components there are among the matched."""
        return len(set(self.component.tolist()) - {NOBODY})

    def recovered(self, cosine: float = 0.95) -> Bool[Tensor, "k"]:
        """Which mechanisms were found: in direction, and in length within `LENGTHS`."""
        shortest, longest = LENGTHS
        fits = (self.length_ratio >= shortest) & (self.length_ratio <= longest)
        return (self.cosine >= cosine) & fits
