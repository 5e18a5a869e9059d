"""Input bits: how untypical it is what the prediction was read off, given the prediction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mad.evidence import Evidence
from mad.gaussian import GaussianCode
from mad.scores.score import Bits, Score


@dataclass(frozen=True)
class InputBits(Score):
    """A Gaussian code of the effects of what came in, given the predicted class.

    Gradient times input, which is the attribution to the weights by the coordinate that they read:
    all components together, where attribution bits have all coordinates together. It needs no
    decomposition, and tells mechanisms apart by what they look at. Two-sided.
    """

    code: GaussianCode

    @classmethod
    def fit(cls, reference: Evidence, ranks: Float[np.ndarray, "C"]) -> InputBits:
        """Fit the code to the reference's effects."""
        effects = reference.input_effects.astype(np.float64)
        return cls(GaussianCode.fit(effects, reference.prediction, reference.outputs.shape[1]))

    def bits(self, evidence: Evidence) -> Bits:
        """Distance from the typical code length."""
        effects = evidence.input_effects.astype(np.float64)
        return Bits(self.code.bits(effects, evidence.prediction)[0])
