"""Typicality: the statistic of attribution bits, on other features than attributions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mad.baselines.baseline import Statistic
from mad.codes import GaussianCode


@dataclass(frozen=True)
class Typicality(Statistic):
    """How far the code length of an input's features is from a typical one, in bits.

    The control for `mad.scores.AttributionBits`: the same code, joint, signed, two-sided and given
    the prediction, so that a difference between the two is due to the features alone.
    """

    code: GaussianCode

    @classmethod
    def fit(
        cls, features: Float[np.ndarray, "n D"], prediction: Int[np.ndarray, "n"], classes: int
    ) -> Typicality:
        """Fit the code to reference features."""
        return cls(GaussianCode.fit(features, prediction, classes))

    def score(
        self, features: Float[np.ndarray, "n D"], prediction: Int[np.ndarray, "n"]
    ) -> Float[np.ndarray, "n"]:
        """|code length - typical code length|, higher = more anomalous."""
        return self.code.bits(features, prediction)[0]
