"""Quantum entropy, OFFLINE: what stands out where a batch varies more than the reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mad.baselines.baseline import Statistic
from mad.baselines.class_mahalanobis import ClassMahalanobis
from mad.predicted import Predicted

SHARPNESS = 4.0
TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True, eq=False)
class QuantumEntropy(Statistic):
    """QUE: w^T Q w / tr Q of the whitened deviations w of the batch's rows of the same prediction.

    Q = exp(alpha (S - I) / |S - I|), with S their second moments, |.| the largest singular value
    and alpha = `SHARPNESS`. Hayase et al. 2021, arXiv 2104.11315, who estimate mean and covariance
    robustly from the batch; here the trusted reference has them, as in `ClassMahalanobis`.
    OFFLINE: a score depends on the batch it is in.

    Attributes:
        means: the reference's mean of every class.
        whitening: R with R R^T the inverse covariance of every class.
    """

    means: Float[np.ndarray, "K D"]
    whitening: Float[np.ndarray, "K D D"]

    @classmethod
    def fit(cls, features: Float[np.ndarray, "n D"], predicted: Predicted) -> QuantumEntropy:
        """Fit means and covariances to reference features."""
        usual = ClassMahalanobis.fit(features, predicted)
        values, vectors = np.linalg.eigh(usual.inverses)
        return cls(usual.means, vectors * np.sqrt(np.maximum(values, 0))[:, None, :])

    def score(
        self, features: Float[np.ndarray, "n D"], predicted: Predicted
    ) -> Float[np.ndarray, "n"]:
        """Scores of whitened deviations, higher = more anomalous."""
        scores = np.empty(len(features))
        for k in np.unique(predicted.label):
            own = predicted.label == k
            white = (features[own] - self.means[k]) @ self.whitening[k]
            variances, directions = np.linalg.eigh(white.T @ white / len(white))
            excess = variances - 1
            emphasis = np.exp(SHARPNESS * excess / max(np.abs(excess).max(), TINY))
            scores[own] = np.square(white @ directions) @ (emphasis / emphasis.sum())
        return scores
