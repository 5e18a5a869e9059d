"""Gram deviations: pairs of neurons that are unusual together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mad.baselines.baseline import Statistic
from mad.baselines.classes import class_rows
from mad.predicted import Predicted


@dataclass(frozen=True, eq=False)
class Gram(Statistic):
    """Mean over pairs i <= j of |z_i z_j - median| / scale, given the predicted class.

    After Beatrix (Ma et al. 2023, arXiv 2209.11715). Of one vector of activations that are not
    negative, their Gram matrices of all orders are the same, so there is order 1 only. The scale of
    a pair is the median absolute deviation of its product, and not below the class's average of
    these: most products of sparse activations have none. A class with fewer than `ENOUGH_ROWS` rows
    has the medians and scales of all rows.

    Attributes:
        medians: of the products, per class; zero for i > j.
        weights: 1 / scale over the number of pairs, per class; zero for i > j.
    """

    medians: Float[np.ndarray, "K D D"]
    weights: Float[np.ndarray, "K D D"]

    @classmethod
    def fit(cls, features: Float[np.ndarray, "n D"], predicted: Predicted) -> Gram:
        """Find medians and scales of the reference's products."""
        D = features.shape[1]
        medians, scales = np.zeros((2, predicted.classes, D, D))
        for k, own in enumerate(class_rows(features, predicted)):
            for i in range(D):
                products = own[:, i, None] * own[:, i:]
                medians[k, i, i:] = np.median(products, axis=0)
                scales[k, i, i:] = np.median(np.abs(products - medians[k, i, i:]), axis=0)
        pairs = D * (D + 1) / 2
        floors = scales.sum((1, 2), keepdims=True) / pairs
        scales = np.maximum(scales, np.where(floors > 0, floors, 1))
        return cls(medians, np.triu(1 / scales) / pairs)

    def score(
        self, features: Float[np.ndarray, "n D"], predicted: Predicted
    ) -> Float[np.ndarray, "n"]:
        """Mean deviations, higher = more anomalous."""
        scores = np.zeros(len(features))
        for k in np.unique(predicted.label):
            rows = predicted.label == k
            own = features[rows]
            for i in range(features.shape[1]):
                deviations = np.abs(own[:, i, None] * own[:, i:] - self.medians[k, i, i:])
                scores[rows] += deviations @ self.weights[k, i, i:]
        return scores
