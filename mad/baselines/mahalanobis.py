"""Mahalanobis distance with one covariance for all classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mad.baselines.baseline import Statistic
from mad.baselines.classes import class_means
from mad.baselines.covariance import precision, squared_distances
from mad.predicted import Predicted


@dataclass(frozen=True, eq=False)
class Mahalanobis(Statistic):
    """Squared Mahalanobis distance to the mean of the predicted class, one covariance for all.

    Lee et al. 2018, arXiv 1807.03888, section 2.1, on any features of an input, and to the
    predicted class where they take the nearest.

    Attributes:
        means: the mean of every class; the overall mean for a class without rows.
        inverse: of the Ledoit-Wolf covariance of the deviations from them.
    """

    means: Float[np.ndarray, "K D"]
    inverse: Float[np.ndarray, "D D"]

    @classmethod
    def fit(cls, features: Float[np.ndarray, "n D"], predicted: Predicted) -> Mahalanobis:
        """Fit means and covariance to reference features."""
        means = class_means(features, predicted)
        return cls(means, precision(features - means[predicted.label]))

    def score(
        self, features: Float[np.ndarray, "n D"], predicted: Predicted
    ) -> Float[np.ndarray, "n"]:
        """Squared distances, higher = more anomalous."""
        return squared_distances(features - self.means[predicted.label], self.inverse)
