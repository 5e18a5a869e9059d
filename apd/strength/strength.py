"""What every way to work out strengths does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from apd.components import Components
from apd.target import Target


@dataclass(frozen=True)
class Strength(ABC):
    """A way to work out A_c = sqrt((1/d) sum_o (sum_l <d f_o / d W_l, P_c,l>)^2)."""

    target: Target

    @abstractmethod
    def __call__(
        self, components: Components, x: Shaped[Tensor, "n *shape"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n C"]]:
        """The target's outputs, and the strength of every component on every input."""
