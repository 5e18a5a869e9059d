"""Distance to the nearest reference inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import cdist

from mad.baselines.baseline import Statistic
from mad.baselines.blocks import rows_at_once
from mad.predicted import Predicted

NEIGHBOURS = 10


@dataclass(frozen=True, eq=False)
class NearestNeighbours(Statistic):
    """Distance to the `NEIGHBOURS`-th nearest reference input, of any class, features at unit norm.

    Sun et al. 2022, arXiv 2204.06507. Features that are all zero stay so; of a reference with fewer
    inputs it is the distance to the farthest.

    Attributes:
        reference: the reference's features at unit norm.
    """

    reference: Float[np.ndarray, "N D"]

    @classmethod
    def fit(cls, features: Float[np.ndarray, "n D"], predicted: Predicted) -> NearestNeighbours:
        """Remember the reference; classes play no part."""
        return cls(at_unit_norm(features))

    def score(
        self, features: Float[np.ndarray, "n D"], predicted: Predicted
    ) -> Float[np.ndarray, "n"]:
        """Euclidean distances, higher = more anomalous."""
        x, k = at_unit_norm(features), min(NEIGHBOURS, len(self.reference))
        found = [
            np.partition(cdist(x[rows], self.reference), k - 1, axis=1)[:, k - 1]
            for rows in rows_at_once(len(x), len(self.reference))
        ]
        return np.concatenate(found)


def at_unit_norm(features: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n D"]:
    """Every row over its Euclidean norm; zeros for a row of zeros."""
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(norms > 0, norms, 1)
