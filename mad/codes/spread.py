"""What rows tell of a distribution: means, scales, shrunk covariances, and how to hold some out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn import covariance
from sklearn.model_selection import KFold

from mad.predicted import Predicted

LOG2_E = float(np.log2(np.e))
FOLDS = 5
PRIOR_ROWS = 1.0
SMALLEST_SCALE = 1e-3
ROUNDING = 1e-12

# of deviations: what to divide each coordinate by, and a variance to take it to have beside its own
Scales = Callable[[Float[np.ndarray, "n D"]], tuple[Float[np.ndarray, "D"], Float[np.ndarray, "D"]]]


class Spread(NamedTuple):
    """What the rows of several classes tell of their distributions.

    Attributes:
        means: of every class, borrowing from the overall mean.
        scale: what every coordinate is divided by.
        kind: which of the covariances every class has.
        covariance: in units of the scales, of all rows' deviations first, then of the rows of every
            class that has one of its own.
    """

    means: Float[np.ndarray, "K D"]
    scale: Float[np.ndarray, "D"]
    kind: Int[np.ndarray, "K"]
    covariance: Float[np.ndarray, "G D D"]

    @classmethod
    def of(
        cls,
        z: Float[np.ndarray, "n D"],
        predicted: Predicted,
        own: Int[np.ndarray, "large"],
        scales: Scales,
    ) -> Spread:
        """Estimate them; `own` are the classes that have a covariance of their own."""
        means = weighted_means(z, predicted)
        apart = varying(deviations(z, means, predicted), z)
        scale, lacking = scales(apart)
        kind = np.zeros(predicted.classes, dtype=np.int64)
        kind[own] = 1 + np.arange(len(own))
        rows = [apart / scale, *(apart[predicted.label == k] / scale for k in own)]
        return cls(means, scale, kind, np.stack([ledoit_wolf(r) + np.diag(lacking) for r in rows]))


def weighted_means(z: Float[np.ndarray, "n D"], predicted: Predicted) -> Float[np.ndarray, "K D"]:
    """The mean of every class's rows, weighted by confidence, borrowing from the overall mean.

    It borrows as from `PRIOR_ROWS` further rows of average confidence.
    """
    borrowed = PRIOR_ROWS * predicted.confidence.mean()
    sums = np.zeros((predicted.classes, z.shape[1]))
    np.add.at(sums, predicted.label, predicted.confidence[:, None] * z)
    weights = np.bincount(predicted.label, predicted.confidence, minlength=predicted.classes)
    return (sums + borrowed * z.mean(0)) / (weights[:, None] + borrowed)


def deviations(
    z: Float[np.ndarray, "n D"], means: Float[np.ndarray, "K D"], predicted: Predicted
) -> Float[np.ndarray, "n D"]:
    """From the mean of the class, times the root of the confidence."""
    return (z - means[predicted.label]) * np.sqrt(predicted.confidence)[:, None]


def varying(
    deviations: Float[np.ndarray, "n D"], z: Float[np.ndarray, "n D"]
) -> Float[np.ndarray, "n D"]:
    """Deviations of z from means of it, without those of coordinates that differ by rounding only.

    A mean of equal numbers need not equal them, and what is left must not pass for a variance.
    """
    most, rounding = np.abs(deviations).max(0), ROUNDING * np.abs(z).max(0)
    return np.where(most > rounding, deviations, 0.0)


def own_scales(
    deviations: Float[np.ndarray, "n D"], least: float = SMALLEST_SCALE, smallest: float = 0.0
) -> tuple[Float[np.ndarray, "D"], Float[np.ndarray, "D"]]:
    """Every coordinate's root mean square, and the variance it lacks of 1 in units of it.

    A coordinate that hardly varies is taken to vary by `least` times what an average one does, or
    by `smallest`, and lacks what it does not; where all that is nothing, by 1. All lack
    `SMALLEST_SCALE` squared at least, as where coordinates go together exactly something is to
    vary.
    """
    spread = np.sqrt(np.mean(deviations**2, axis=0))
    floor = max(least * np.sqrt(np.mean(spread**2)), smallest)
    scale = np.maximum(spread, floor if floor > 0 else 1.0)
    return scale, np.maximum(1 - (spread / scale) ** 2, SMALLEST_SCALE**2)


def common_scale(
    deviations: Float[np.ndarray, "n D"],
) -> tuple[Float[np.ndarray, "D"], Float[np.ndarray, "D"]]:
    """The root mean square of an average coordinate, for all, and `SMALLEST_SCALE` squared.

    Where none varies, 1 and 1.
    """
    ones = np.ones(deviations.shape[1])
    average = np.sqrt(np.mean(deviations**2))
    return (average * ones, SMALLEST_SCALE**2 * ones) if average > 0 else (ones, ones)


def ledoit_wolf(deviations: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "D D"]:
    """The covariance of centred rows, shrunk toward a multiple of the identity."""
    return np.asarray(covariance.ledoit_wolf(deviations, assume_centered=True)[0])


def folds(n: int) -> list[tuple[Int[np.ndarray, "some"], Int[np.ndarray, "other"]]]:
    """`FOLDS` seeded ways to hold some of n rows out."""
    return list(KFold(min(FOLDS, n), shuffle=True, random_state=0).split(np.empty(n)))
