"""What a mechanistic score has to beat: thin wrappers on scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from sklearn.covariance import LedoitWolf


@dataclass(frozen=True)
class Mahalanobis:
    """Squared Mahalanobis distance to the mean of the predicted class, one covariance for all.

    Lee et al. 2018, arXiv 1807.03888, section 2.1, on any features of an input.

    Attributes:
        means: the mean of every class; the overall mean for a class without rows.
        covariance: Ledoit-Wolf, of the deviations from them.
    """

    means: Float[np.ndarray, "K D"]
    covariance: LedoitWolf

    @classmethod
    def fit(
        cls, features: Float[np.ndarray, "n D"], predicted: Int[np.ndarray, "n"], classes: int
    ) -> Mahalanobis:
        """Fit to reference features."""
        rows = [features[predicted == k] for k in range(classes)]
        means = np.stack([(own if len(own) else features).mean(0) for own in rows])
        deviations = features - means[predicted]
        return cls(means, LedoitWolf(assume_centered=True).fit(deviations))

    def score(
        self, features: Float[np.ndarray, "n D"], predicted: Int[np.ndarray, "n"]
    ) -> Float[np.ndarray, "n"]:
        """Squared distances, higher = more anomalous."""
        return self.covariance.mahalanobis(features - self.means[predicted])
