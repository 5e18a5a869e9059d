"""Residual bits: how much of the outputs comes from weights that no component owns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mad.codes import WideCode
from mad.evidence import Evidence
from mad.scores.score import Bits, Score


@dataclass(frozen=True, eq=False)
class ResidualBits(Score):
    """A Gaussian code of f(x) - f(x; all components), in output space.

    A mechanism the reference never exercised has no component of its own and lives in the residual.
    """

    code: WideCode

    @classmethod
    def fit(cls, reference: Evidence, ranks: Float[np.ndarray, "C"]) -> ResidualBits:
        """Fit the code to what the residual contributes on the reference."""
        return cls(WideCode.fit(owned_by_none(reference), reference.smallest_loss))

    def bits(self, evidence: Evidence) -> Bits:
        """Distance from the typical code length."""
        return Bits(self.code.bits(owned_by_none(evidence)))


def owned_by_none(evidence: Evidence) -> Float[np.ndarray, "n d"]:
    """The outputs lost when the residual is dropped, in float64."""
    return (evidence.outputs - evidence.without_residual).astype(np.float64, copy=False)
