"""Residual bits: how much of the outputs comes from weights that trusted inputs do not use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mad.codes import WideCode
from mad.evidence import Evidence
from mad.scores.score import Bits, Score

LEAST_SPREAD = 0.03


@dataclass(frozen=True, eq=False)
class ResidualBits(Score):
    """A Gaussian code of f(x) - f(x; all trusted components), in output space.

    A mechanism that no trusted input exercises is in the residual, or in components that no trusted
    input uses. What these do is taken to vary by `LEAST_SPREAD` times what the outputs do at least:
    it counts for as much as it is, and not for being new.
    """

    code: WideCode

    @classmethod
    def fit(cls, reference: Evidence, ranks: Float[np.ndarray, "C"]) -> ResidualBits:
        """Fit the code to what these weights contribute on the reference."""
        least = max(LEAST_SPREAD * reference.spread, reference.rounding)
        return cls(WideCode.fit(untrusted(reference), least))

    def bits(self, evidence: Evidence) -> Bits:
        """Distance from the typical code length."""
        return Bits(self.code.bits(untrusted(evidence)))


def untrusted(evidence: Evidence) -> Float[np.ndarray, "n d"]:
    """The outputs lost when all but the trusted components is dropped, in float64."""
    return (evidence.outputs - evidence.on_trusted).astype(np.float64, copy=False)
