"""Strengths from gradients: of every output, or of random projections of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from apd.attribution import projected_attributions, rms_attributions
from apd.components import Components
from apd.hooks import capture
from apd.output_gradients import random_signs
from apd.strength.strength import Strength


class Backward(Strength):
    """One backward pass per output, many at once."""

    def __call__(
        self, components: Components, x: Shaped[Tensor, "n *shape"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n C"]]:
        """Exact, for any target."""
        outputs, captures = capture(self.target, x)
        return outputs.detach(), rms_attributions(outputs, captures, components)


@dataclass(frozen=True)
class Projected(Strength):
    """One backward pass per random projection of the outputs.

    Attributes:
        projections: how many.
    """

    projections: int

    def __call__(
        self, components: Components, x: Shaped[Tensor, "n *shape"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n C"]]:
        """Unbiased in the squares; `projected_attributions` gives their variance."""
        outputs, captures = capture(self.target, x)
        signs = random_signs(self.projections, outputs, generator)
        return outputs.detach(), projected_attributions(outputs, captures, components, signs)
