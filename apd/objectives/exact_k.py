"""Exact k: the sparsity is known, and kept to from the first step to the last."""

from __future__ import annotations

import torch
from jaxtyping import Shaped
from torch import Tensor

from apd.components import Components
from apd.objectives.batch_topk import active_sets
from apd.objectives.topk import Chosen, TopK
from apd.sparsity import Phase, Sparsity


class ExactK(TopK):
    """The strongest pairs of a batch, as many as are given."""

    def steer(self, sparsity: Sparsity, phase: Phase, components: int) -> None:
        """To what is given, whatever the error."""
        sparsity.active = sparsity.found

    def select(
        self,
        components: Components,
        x: Shaped[Tensor, "n *shape"],
        active: float,
        generator: torch.Generator,
    ) -> Chosen:
        """APD, arXiv 2501.14926, section 2.2."""
        outputs, mask = active_sets(self.strength, components, x, active, generator)
        return self.chosen(outputs, mask, active)
