"""Attribution bits: how untypical the components' contributions are, given the prediction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float

from mad.codes import GaussianCode
from mad.codes.spread import own_scales
from mad.evidence import Evidence
from mad.scores.score import Bits, Score

LEAST_SPREAD = 0.1


@dataclass(frozen=True, eq=False)
class AttributionBits(Score):
    """A Gaussian code of the joint, signed attributions given the predicted class.

    A component that the reference hardly used is taken to vary by `LEAST_SPREAD` times what an
    average one does: what it contributes counts for as much as it is, and not for being new.

    Two-sided: contributions that are closer to the mean than the reference's are untypical too. A
    component answers for what it costs by itself to contribute more than it usually does: taking
    away components named so takes the reason away, which taking away those that contribute less
    than usual cannot.
    """

    code: GaussianCode

    @classmethod
    def fit(cls, reference: Evidence, ranks: Float[np.ndarray, "C"]) -> AttributionBits:
        """Fit the code to the reference's attributions."""
        attributions = reference.attributions.astype(np.float64)
        scales = partial(own_scales, least=LEAST_SPREAD)
        return cls(GaussianCode.fit(attributions, reference.predicted, scales))

    def bits(self, evidence: Evidence) -> Bits:
        """Distance from the typical code length."""
        return Bits(*self.code.bits(evidence.attributions, evidence.predicted))
