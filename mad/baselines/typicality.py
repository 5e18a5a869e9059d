"""Typicality: the statistic of attribution bits, on other features than attributions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mad.baselines.baseline import Statistic
from mad.codes import GaussianCode
from mad.predicted import Predicted


@dataclass(frozen=True, eq=False)
class Typicality(Statistic):
    """How far the code length of an input's features is from a typical one, in bits.

    The control for `mad.scores.AttributionBits`: the same code, joint, signed, two-sided and given
    the prediction, but for the least that a coordinate is taken to vary, which is smaller here.
    """

    code: GaussianCode

    @classmethod
    def fit(cls, features: Float[np.ndarray, "n D"], predicted: Predicted) -> Typicality:
        """Fit the code to reference features."""
        return cls(GaussianCode.fit(features, predicted))

    def score(
        self, features: Float[np.ndarray, "n D"], predicted: Predicted
    ) -> Float[np.ndarray, "n"]:
        """|code length - typical code length|, higher = more anomalous."""
        return self.code.bits(features, predicted)[0]
