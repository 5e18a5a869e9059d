"""Local outlier factor: sparser surroundings than the neighbours'."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from sklearn import neighbors

from mad.baselines.baseline import Statistic
from mad.predicted import Predicted

NEIGHBOURS = 20


@dataclass(frozen=True)
class LocalOutlierFactor(Statistic):
    """Density around the nearest reference inputs over that around the input itself.

    Breunig et al. 2000, as scikit-learn has it, whose scores are high for the normal.

    Attributes:
        model: fitted to the reference, for inputs outside of it.
    """

    model: neighbors.LocalOutlierFactor

    @classmethod
    def fit(cls, features: Float[np.ndarray, "n D"], predicted: Predicted) -> LocalOutlierFactor:
        """Find every reference input's neighbours; classes play no part."""
        k = min(NEIGHBOURS, len(features) - 1)
        return cls(neighbors.LocalOutlierFactor(n_neighbors=k, novelty=True).fit(features))

    def score(
        self, features: Float[np.ndarray, "n D"], predicted: Predicted
    ) -> Float[np.ndarray, "n"]:
        """Outlier factors, about 1 for the normal, higher = more anomalous."""
        return -self.model.score_samples(features)
