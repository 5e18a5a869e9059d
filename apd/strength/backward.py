"""Strengths from gradients: of every output, or of random projections of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from apd.attribution import projected_attributions, rms_attributions, squared_effects
from apd.components import Components
from apd.hooks import Capture, capture
from apd.output_gradients import random_signs
from apd.strength.strength import Strength

MOST_PASSES = 64
PROJECTIONS = 8


def row_strengths(
    outputs: Float[Tensor, "n d"], captures: Sequence[Capture], components: Components
) -> Float[Tensor, "n C"]:
    """Strengths of which every row is a function of that row alone, along `fixed_directions`.

    Args:
        outputs: the target's outputs, from `apd.hooks.capture`.
        captures: of the same pass.
        components: of the target.
    """
    n, d = outputs.shape
    directions = fixed_directions(d).to(outputs)[:, None].expand(-1, n, -1)
    return (squared_effects(outputs, captures, components, directions) / d).sqrt()


def fixed_directions(d: int) -> Float[Tensor, "k d"]:
    """Along which to add up squared effects on d outputs, the same whatever the inputs.

    Those of the outputs themselves; of more than `MOST_PASSES`, `PROJECTIONS` random ones, which
    leave the sum what it is in the mean (`apd.attribution.projected_attributions`).
    """
    if d <= MOST_PASSES:
        return torch.eye(d)
    signs = random_signs(PROJECTIONS, torch.zeros(1, d), torch.Generator().manual_seed(0))
    return signs[:, 0] / PROJECTIONS**0.5


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
