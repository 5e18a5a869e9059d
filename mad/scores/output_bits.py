"""Output bits: how much of the outputs the active components leave unexplained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mad.evidence import Evidence
from mad.gaussian import GaussianCode
from mad.scores.score import Score


@dataclass(frozen=True)
class OutputBits(Score):
    """A Gaussian code of f(x) - f(x; active components), in output space."""

    code: GaussianCode

    @classmethod
    def fit(cls, reference: Evidence, ranks: Float[np.ndarray, "C"]) -> OutputBits:
        """Fit the code to what the reference's active components leave unexplained."""
        return cls(
            GaussianCode.fit(unexplained(reference), np.zeros(len(reference.outputs), int), 1)
        )

    def bits(self, evidence: Evidence) -> Float[np.ndarray, "n"]:
        """Distance from the typical code length."""
        return self.code.bits(unexplained(evidence), np.zeros(len(evidence.outputs), int))


def unexplained(evidence: Evidence) -> Float[np.ndarray, "n d"]:
    """The outputs lost when everything but the active components is dropped."""
    return evidence.outputs - evidence.masked
