"""How components' columns, what they read off an input and what they moved, lead to a stage."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Map(ABC):
    """A linear map of some of the columns.

    Attributes:
        span: the columns.
    """

    span: slice

    @abstractmethod
    def __call__(self, t: Float[Tensor, "C n width"]) -> Float[Tensor, "C n _k"]:
        """By how much every component moves the stage's values."""

    def squared_norms(self, t: Float[Tensor, "C n width"]) -> Float[Tensor, "C n"]:
        """The squared lengths of that."""
        return torch.linalg.vector_norm(self(t), dim=-1).square_()


class Identity(Map):
    """The columns as they are."""

    def __call__(self, t: Float[Tensor, "C n width"]) -> Float[Tensor, "C n _span"]:
        """t."""
        return t[..., self.span]


@dataclass(frozen=True)
class Linear(Map):
    """The columns times a matrix.

    Attributes:
        matrix: one for all components, or one for each; zeros where a column does not lead there.
    """

    matrix: Float[Tensor, "*C _span k"]

    def __call__(self, t: Float[Tensor, "C n width"]) -> Float[Tensor, "C n k"]:
        """t matrix."""
        return t[..., self.span] @ self.matrix

    @cached_property
    def gram(self) -> Float[Tensor, "*C _span _span"]:
        """matrix matrix^T."""
        return self.matrix @ self.matrix.mT

    def squared_norms(self, t: Float[Tensor, "C n width"]) -> Float[Tensor, "C n"]:
        """||t matrix||^2, and t gram t^T where more values than columns would be formed."""
        columns, values = self.matrix.shape[-2:]
        if columns >= values:
            return super().squared_norms(t)
        own = t[..., self.span]
        return (own @ self.gram).mul_(own).sum(-1).clamp_(min=0)
