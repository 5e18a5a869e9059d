"""Input bits: how untypical it is what the prediction was read off, given the prediction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mad.codes import GaussianCode
from mad.codes.gaussian import most_coordinates
from mad.codes.spread import common_scale
from mad.evidence import Evidence, together
from mad.scores.score import Bits, Score

TINY = 1e-30
ITS_OWN = (1.0,)


@dataclass(frozen=True, eq=False)
class InputBits(Score):
    """A Gaussian code of each coordinate's share in what came in, given the predicted class.

    The effects are gradient times input, which is the attribution to the weights by the coordinate
    that they read: all components together, where attribution bits have all coordinates together.
    This needs no decomposition, and tells mechanisms apart by what they look at. Two-sided.

    A class has the covariance of its own shares alone: what the others are read off would make room
    for whatever a changed input of this one is read off. All coordinates are in one unit, so that
    one that the reference hardly read counts for as much as it matters to the prediction, and not
    for being new. Where classes are so many that not all can have a covariance of that many
    coordinates, consecutive ones count together (`mad.codes.gaussian.most_coordinates`).
    """

    code: GaussianCode

    @classmethod
    def fit(cls, reference: Evidence, ranks: Float[np.ndarray, "C"]) -> InputBits:
        """Fit the code to the reference's shares."""
        z = shares(reference, most_coordinates(reference.predicted))
        return cls(GaussianCode.fit(z, reference.predicted, common_scale, ITS_OWN))

    def bits(self, evidence: Evidence) -> Bits:
        """Distance from the typical code length."""
        z = shares(evidence, self.coordinates)
        return Bits(self.code.bits(z, evidence.predicted)[0])

    @property
    def coordinates(self) -> int:
        """How many there are."""
        return self.code.means.shape[1]


def shares(evidence: Evidence, most: int) -> Float[np.ndarray, "n q"]:
    """Effects over the sum of their magnitudes, in float64; zero where there are none.

    Args:
        evidence: of inputs.
        most: how many there may be; consecutive ones are added up.
    """
    effects = together(evidence.input_effects.astype(np.float64), most)
    return effects / np.maximum(np.abs(effects).sum(1, keepdims=True), TINY)
