"""Mask bits: what it costs to say which components are active."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mad.evidence import Evidence
from mad.scores.score import Bits, Score


@dataclass(frozen=True)
class MaskBits(Score):
    """Code length of the active set under the reference's rates, components taken independently.

    A component used by n_c of N reference inputs has p_c = (n_c + 1/2) / (N + 1) (Krichevsky and
    Trofimov 1981); being on costs -log2 p_c, being off -log2 (1 - p_c). What the reference never
    used costs the most.

    Attributes:
        rate: p_c.
    """

    rate: Float[np.ndarray, "C"]

    @classmethod
    def fit(cls, reference: Evidence, ranks: Float[np.ndarray, "C"]) -> MaskBits:
        """Count how often each component is active."""
        return cls((reference.active.sum(0) + 0.5) / (len(reference.active) + 1))

    def bits(self, evidence: Evidence) -> Bits:
        """-log2 p_c where active, -log2 (1 - p_c) where not, and their sum."""
        off = -np.log2(1 - self.rate)
        each = evidence.active * (-np.log2(self.rate) - off) + off
        return Bits(each.sum(1), each)
