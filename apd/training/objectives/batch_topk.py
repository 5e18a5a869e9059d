"""Batch top-k: inputs compete for places, k of them per input on average."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from apd.components import Components
from apd.strength import Strength
from apd.training.masks import batch_topk
from apd.training.objectives.topk import Chosen, TopK
from apd.training.sparsity import Phase, Sparsity


class BatchTopK(TopK):
    """The strongest pairs of a batch, as many as leave the error aimed at.

    `apd.training.sparsity` steers how many those are.
    """

    def steer(self, sparsity: Sparsity, phase: Phase, components: int) -> None:
        """By the error, down to one pair in a batch."""
        sparsity.steer(phase, components, 1 / self.config.batch_size, self.config)

    def select(
        self,
        components: Components,
        x: Shaped[Tensor, "n *shape"],
        active: float,
        generator: torch.Generator,
    ) -> Chosen:
        """APD, arXiv 2501.14926, section 2.2."""
        outputs, mask = active_sets(self.strength, components, x, active, generator)
        return self.chosen(outputs, mask, min(float(components.count), max(1 / len(x), active)))


def active_sets(
    strength: Strength,
    components: Components,
    x: Shaped[Tensor, "n *shape"],
    active: float,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "n d"], Bool[Tensor, "n C"]]:
    """The target's outputs and each input's active components, `active` per input on average."""
    outputs, strengths = strength(components, x, generator)
    k = min(strengths.numel(), max(1, round(active * len(x))))
    return outputs, batch_topk(strengths, k)
