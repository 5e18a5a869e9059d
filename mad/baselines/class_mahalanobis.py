"""Mahalanobis distance with a covariance for every class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mad.baselines.baseline import Statistic
from mad.baselines.classes import class_means, class_rows
from mad.baselines.covariance import precision, squared_distances
from mad.predicted import Predicted


@dataclass(frozen=True, eq=False)
class ClassMahalanobis(Statistic):
    """Squared Mahalanobis distance to the predicted class: its mean, its covariance.

    A class with fewer than `ENOUGH_ROWS` rows has the covariance of all deviations from class
    means, which is that of `Mahalanobis`; one without rows also has the overall mean.

    Attributes:
        means: the mean of every class.
        inverses: of the Ledoit-Wolf covariance of every class's deviations from its mean.
    """

    means: Float[np.ndarray, "K D"]
    inverses: Float[np.ndarray, "K D D"]

    @classmethod
    def fit(cls, features: Float[np.ndarray, "n D"], predicted: Predicted) -> ClassMahalanobis:
        """Fit means and covariances to reference features."""
        means = class_means(features, predicted)
        rows = class_rows(features - means[predicted.label], predicted)
        return cls(means, np.stack([precision(own) for own in rows]))

    def score(
        self, features: Float[np.ndarray, "n D"], predicted: Predicted
    ) -> Float[np.ndarray, "n"]:
        """Squared distances, higher = more anomalous."""
        scores = np.empty(len(features))
        for k in np.unique(predicted.label):
            own = predicted.label == k
            scores[own] = squared_distances(features[own] - self.means[k], self.inverses[k])
        return scores
