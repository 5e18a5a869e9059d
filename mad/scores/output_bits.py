"""Output bits: how much of the outputs the active components leave unexplained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mad.codes import WideCode
from mad.evidence import Evidence
from mad.scores.score import Bits, Score


@dataclass(frozen=True, eq=False)
class OutputBits(Score):
    """A Gaussian code of f(x) - f(x; active components), in output space.

    It is taken to vary by rounding at least, as that is all there is where active components
    explain the outputs exactly.
    """

    code: WideCode

    @classmethod
    def fit(cls, reference: Evidence, ranks: Float[np.ndarray, "C"]) -> OutputBits:
        """Fit the code to what the reference's active components leave unexplained."""
        return cls(WideCode.fit(unexplained(reference), reference.rounding))

    def bits(self, evidence: Evidence) -> Bits:
        """Distance from the typical code length."""
        return Bits(self.code.bits(unexplained(evidence)))


def unexplained(evidence: Evidence) -> Float[np.ndarray, "n d"]:
    """The outputs lost when everything but the active components is dropped, in float64."""
    return (evidence.outputs - evidence.masked).astype(np.float64, copy=False)
