"""Relative Mahalanobis distance: to the predicted class, less to all inputs together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mad.baselines.baseline import Statistic
from mad.baselines.mahalanobis import Mahalanobis
from mad.predicted import Predicted


@dataclass(frozen=True, eq=False)
class RelativeMahalanobis(Statistic):
    """`Mahalanobis`, less the squared distance under one Gaussian that ignores the classes.

    Ren et al. 2021, arXiv 2106.09022, and to the predicted class where they take the nearest. What
    is unusual about an input whatever its class cancels; scores can be negative. Of a single class
    it is always 0.

    Attributes:
        of_class: the distance to the predicted class.
        of_all: the distance to all inputs together.
    """

    of_class: Mahalanobis
    of_all: Mahalanobis

    @classmethod
    def fit(cls, features: Float[np.ndarray, "n D"], predicted: Predicted) -> RelativeMahalanobis:
        """Fit both Gaussians to reference features."""
        return cls(
            Mahalanobis.fit(features, predicted),
            Mahalanobis.fit(features, Predicted.alike(len(features))),
        )

    def score(
        self, features: Float[np.ndarray, "n D"], predicted: Predicted
    ) -> Float[np.ndarray, "n"]:
        """Differences of squared distances, higher = more anomalous."""
        of_all = self.of_all.score(features, Predicted.alike(len(features)))
        return self.of_class.score(features, predicted) - of_all
