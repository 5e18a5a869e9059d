"""Principal components of the reference's features, before any other statistic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mad.baselines.baseline import FitStatistic, Statistic
from mad.predicted import Predicted

SHARE_OF_VARIANCE = 0.95
MOST_COMPONENTS = 50


@dataclass(frozen=True, eq=False)
class Principal(Statistic):
    """A statistic of as few principal components as hold `SHARE_OF_VARIANCE`, or fewer.

    At most `MOST_COMPONENTS` are kept, and at least one. What an input has outside of them is not
    seen.

    Attributes:
        mean: of the reference.
        directions: orthonormal, of largest variance first.
        statistic: of the coordinates along them.
    """

    mean: Float[np.ndarray, "D"]
    directions: Float[np.ndarray, "D r"]
    statistic: Statistic

    @classmethod
    def fit(
        cls,
        fit: FitStatistic,
        features: Float[np.ndarray, "n D"],
        predicted: Predicted,
    ) -> Principal:
        """Find the components, and fit a statistic to the reference's coordinates."""
        mean = features.mean(0)
        _, sizes, directions = np.linalg.svd(features - mean, full_matrices=False)
        variance = np.cumsum(sizes**2)
        enough = 1 + np.sum(variance < SHARE_OF_VARIANCE * variance[-1])
        kept = directions[: min(enough, MOST_COMPONENTS)].T
        return cls(mean, kept, fit((features - mean) @ kept, predicted))

    def score(
        self, features: Float[np.ndarray, "n D"], predicted: Predicted
    ) -> Float[np.ndarray, "n"]:
        """The statistic of the coordinates, higher = more anomalous."""
        return self.statistic.score((features - self.mean) @ self.directions, predicted)
