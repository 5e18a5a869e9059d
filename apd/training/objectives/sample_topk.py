"""Sample top-k: as many components for every input."""

from __future__ import annotations

import torch
from jaxtyping import Shaped
from torch import Tensor

from apd.components import Components
from apd.training.masks import sample_topk
from apd.training.objectives.topk import Chosen, TopK
from apd.training.sparsity import Phase, Sparsity


class SampleTopK(TopK):
    """The strongest components of every input, as many as leave the error aimed at."""

    def steer(self, sparsity: Sparsity, phase: Phase, components: int) -> None:
        """By the error, down to one component."""
        sparsity.steer(phase, components, 1.0, self.config)

    def select(
        self,
        components: Components,
        x: Shaped[Tensor, "n *shape"],
        active: float,
        generator: torch.Generator,
    ) -> Chosen:
        """APD, arXiv 2501.14926, appendix A, with k rounded to a whole number."""
        outputs, strengths = self.strength(components, x, generator)
        k = min(components.count, max(1, round(active)))
        return self.chosen(outputs, sample_topk(strengths, k), float(k))
