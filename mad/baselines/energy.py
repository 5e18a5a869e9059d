"""Energy: how little evidence there is for any class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp

from mad.baselines.baseline import Baseline
from mad.baselines.observed import Observed


@dataclass(frozen=True)
class Energy(Baseline):
    """-log sum_j exp z_j of the logits z (Liu et al. 2020, arXiv 2010.03759).

    High where all logits are low.
    """

    @classmethod
    def fit(cls, seen: Observed) -> Energy:
        """The reference plays no part."""
        return cls()

    def score(self, seen: Observed) -> Float[np.ndarray, "n"]:
        """The energy of every input, at temperature 1."""
        return -logsumexp(seen.outputs.astype(np.float64), axis=1)
