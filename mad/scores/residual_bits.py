"""Residual bits: how much of the outputs comes from weights that no component owns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mad.evidence import Evidence
from mad.gaussian import GaussianCode
from mad.scores.score import Score


@dataclass(frozen=True)
class ResidualBits(Score):
    """A Gaussian code of f(x) - f(x; all components), in output space.

    A mechanism the reference never exercised has no component of its own and lives in the residual.
    """

    code: GaussianCode

    @classmethod
    def fit(cls, reference: Evidence, ranks: Float[np.ndarray, "C"]) -> ResidualBits:
        """Fit the code to what the residual contributes on the reference."""
        return cls(
            GaussianCode.fit(owned_by_none(reference), np.zeros(len(reference.outputs), int), 1)
        )

    def bits(self, evidence: Evidence) -> Float[np.ndarray, "n"]:
        """Distance from the typical code length."""
        return self.code.bits(owned_by_none(evidence), np.zeros(len(evidence.outputs), int))


def owned_by_none(evidence: Evidence) -> Float[np.ndarray, "n d"]:
    """The outputs lost when the residual is dropped."""
    return evidence.outputs - evidence.without_residual
