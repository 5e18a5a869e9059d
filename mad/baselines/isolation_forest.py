"""Isolation forest: few random cuts set the input apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from sklearn import ensemble

from mad.baselines.baseline import Statistic
from mad.predicted import Predicted

SEED = 0


@dataclass(frozen=True)
class IsolationForest(Statistic):
    """2^(-cuts needed / cuts expected), between 0 and 1, on average over 100 trees.

    Liu, Ting and Zhou 2008, as scikit-learn has it, whose scores are high for the normal.

    Attributes:
        model: the trees, grown from seed `SEED`.
    """

    model: ensemble.IsolationForest

    @classmethod
    def fit(cls, features: Float[np.ndarray, "n D"], predicted: Predicted) -> IsolationForest:
        """Grow the trees; classes play no part."""
        return cls(ensemble.IsolationForest(random_state=SEED).fit(features))

    def score(
        self, features: Float[np.ndarray, "n D"], predicted: Predicted
    ) -> Float[np.ndarray, "n"]:
        """Anomaly scores, higher = more anomalous."""
        return -self.model.score_samples(features)
