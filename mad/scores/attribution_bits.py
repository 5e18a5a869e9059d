"""Attribution bits: how untypical the components' contributions are, given the prediction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mad.evidence import Evidence
from mad.gaussian import GaussianCode
from mad.scores.score import Score


@dataclass(frozen=True)
class AttributionBits(Score):
    """A Gaussian code of the joint, signed attributions, one mean per predicted class.

    A component's attribution is summed over the sites it lives in: what the whole mechanism did.
    Two-sided: contributions that are closer to the mean than the reference's are untypical too.
    """

    code: GaussianCode

    @classmethod
    def fit(cls, reference: Evidence, ranks: Float[np.ndarray, "C"]) -> AttributionBits:
        """Fit the code to the reference's attributions."""
        groups = reference.outputs.shape[1]
        return cls(GaussianCode.fit(contributions(reference), reference.prediction, groups))

    def bits(self, evidence: Evidence) -> Float[np.ndarray, "n"]:
        """Distance from the typical code length."""
        return self.code.bits(contributions(evidence), evidence.prediction)

    def component_bits(self, evidence: Evidence) -> Float[np.ndarray, "n C"]:
        """Bits by which the code would be shorter without one component's attribution."""
        alone = np.arange(evidence.attributions.shape[2])[:, None]
        return self.code.part_bits(contributions(evidence), evidence.prediction, alone)


def contributions(evidence: Evidence) -> Float[np.ndarray, "n C"]:
    """What each component contributed to the explained output, over all its sites."""
    return evidence.attributions.sum(1)
