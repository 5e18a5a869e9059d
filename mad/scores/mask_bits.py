"""Mask bits: what it costs to say which components are active."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mad.codes import TreeCode
from mad.evidence import Evidence
from mad.scores.score import Bits, Score


@dataclass(frozen=True, eq=False)
class MaskBits(Score):
    """Code length of the active set, given the predicted class and given one another.

    Components that go together cost little together, and much apart; those the reference never
    used, or not for that prediction, or not in that company, cost the most.

    Attributes:
        code: of the active set.
    """

    code: TreeCode

    @classmethod
    def fit(cls, reference: Evidence, ranks: Float[np.ndarray, "C"]) -> MaskBits:
        """Count how often components are active, and with which others."""
        groups = reference.outputs.shape[1]
        return cls(TreeCode.fit(reference.active, reference.prediction, groups))

    def bits(self, evidence: Evidence) -> Bits:
        """-log2 of the probability of what each component does, and their sum."""
        each = self.code.lengths(evidence.active, evidence.prediction)
        return Bits(each.sum(1), each)
