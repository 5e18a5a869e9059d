"""Exact k: the sparsity is known, and kept to from the first step to the last."""

from __future__ import annotations

from apd.training.objectives.batch_topk import BatchTopK
from apd.training.sparsity import Phase, Sparsity


class ExactK(BatchTopK):
    """The strongest pairs of a batch, as many as are given."""

    def steer(self, sparsity: Sparsity, phase: Phase, components: int) -> None:
        """To what is given, whatever the error."""
        sparsity.active = sparsity.found
