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
from apd.output_gradients import fixed_directions, random_signs
from apd.strength.strength import Strength


def row_strengths(
    outputs: Float[Tensor, "n d"], captures: Sequence[Capture], components: Components
) -> Float[Tensor, "n C"]:
    """Strengths of which every row is a function of that row alone.

    Those of `rms_attributions` up to `DIRECTIONS` outputs, and else along `fixed_directions`.

    Args:
        outputs: the target's outputs, from `apd.hooks.capture`.
        captures: of the same pass.
        components: of the target.
    """
    n, d = outputs.shape
    directions = fixed_directions(d).to(outputs)[:, None].expand(-1, n, -1)
    return (squared_effects(outputs, captures, components, directions) / d).sqrt()


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
