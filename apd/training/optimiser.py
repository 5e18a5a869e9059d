"""Adam with one step size per vector, over a block of components at a time.

Adam (Kingma and Ba 2015, arXiv 1412.6980) divides every coordinate's step by the size of its own
past gradients. Here the vectors U[c, m] and V[c, m] are divided by the size of theirs as a whole
(their squared length, much as Adam-mini does by block, arXiv 2406.16793): a direction is found
alike in every basis, and the second moment takes no memory to speak of.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

FIRST, SECOND, SMALLEST = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Moments:
    """What Adam remembers of one tensor's gradients; changed in place.

    Attributes:
        first: exponential mean of the gradients.
        second: exponential mean of their squared lengths.
    """

    first: Float[Tensor, "C m d"]
    second: Float[Tensor, "C m 1"]

    @classmethod
    def of(cls, tensor: Float[Tensor, "C m d"]) -> Moments:
        """Those of no gradients yet."""
        return cls(torch.zeros_like(tensor), torch.zeros_like(tensor[..., :1]))

    def block(self, components: slice) -> Moments:
        """Those of some components, sharing memory."""
        return Moments(self.first[components], self.second[components])


def descend(
    tensor: Float[Tensor, "C m d"],
    gradient: Float[Tensor, "C m d"],
    moments: Moments,
    length: float,
    step: int,
) -> None:
    """One step down a gradient, in place.

    Args:
        tensor: changed.
        gradient: of the loss.
        moments: changed.
        length: how far a vector moves whose gradient is as it was on average.
        step: how many steps came before; where the moments are of fewer, vectors move farther.
    """
    moments.first.lerp_(gradient, 1 - FIRST)
    square = torch.linalg.vector_norm(gradient, dim=-1, keepdim=True).square_()
    moments.second.lerp_(square, 1 - SECOND)
    size = (moments.second / (1 - SECOND ** (step + 1))).sqrt_().add_(SMALLEST)
    rate = size.reciprocal_().mul_(-length / (1 - FIRST ** (step + 1)))
    tensor.addcmul_(moments.first, rate)
