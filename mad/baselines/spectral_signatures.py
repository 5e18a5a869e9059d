"""Spectral signatures, OFFLINE: what stands out along a batch's own widest direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mad.baselines.baseline import Statistic
from mad.predicted import Predicted


@dataclass(frozen=True)
class SpectralSignatures(Statistic):
    """Squared length along the top singular vector of the batch's rows of the same prediction.

    Tran et al. 2018, arXiv 1811.00636: rows are centred on the batch's mean for their class.
    OFFLINE: a score depends on the batch it is in. A row alone in its class scores 0.
    """

    @classmethod
    def fit(cls, features: Float[np.ndarray, "n D"], predicted: Predicted) -> SpectralSignatures:
        """The reference plays no part."""
        return cls()

    def score(
        self, features: Float[np.ndarray, "n D"], predicted: Predicted
    ) -> Float[np.ndarray, "n"]:
        """Squared lengths, higher = more anomalous."""
        scores = np.empty(len(features))
        for k in np.unique(predicted.label):
            rows = predicted.label == k
            own = features[rows]
            left, sizes, _ = np.linalg.svd(own - own.mean(0), full_matrices=False)
            scores[rows] = np.square(left[:, 0] * sizes[0])
        return scores
