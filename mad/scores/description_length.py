"""Description length: how much mechanism an input needs, usual or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mad.evidence import Evidence
from mad.scores.score import Bits, Score

BITS_PER_RANK = 1.0


@dataclass(frozen=True, eq=False)
class DescriptionLength(Score):
    """sum_c s_c (log2 C + b sum_l rank_c,l), with b = `BITS_PER_RANK`.

    The minimum description length APD trains for (arXiv 2501.14926, appendix A). It tells complex
    inputs from simple ones rather than odd from usual, so it is reported beside the total and not
    part of it.

    Attributes:
        cost: log2 C + b sum_l rank_c,l.
    """

    cost: Float[np.ndarray, "C"]

    @classmethod
    def fit(cls, reference: Evidence, ranks: Float[np.ndarray, "C"]) -> DescriptionLength:
        """Price every component; the reference plays no part."""
        return cls(np.log2(len(ranks)) + BITS_PER_RANK * ranks)

    def bits(self, evidence: Evidence) -> Bits:
        """The price of the active components."""
        return Bits(evidence.active @ self.cost)
