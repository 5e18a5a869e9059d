"""What rows tell of a distribution: means, scales, shrunk covariances, and how to hold some out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn import covariance
from sklearn.model_selection import KFold

LOG2_E = float(np.log2(np.e))
FOLDS = 5
PRIOR_ROWS = 1.0
SMALLEST_SCALE = 1e-3

# of deviations: what to divide each coordinate by, and a variance to take it to have beside its own
Scales = Callable[[Float[np.ndarray, "n D"]], tuple[Float[np.ndarray, "D"], Float[np.ndarray, "D"]]]


class Spread(NamedTuple):
    """What the rows of several groups tell of their distributions.

    Attributes:
        means: of every group, borrowing from the overall mean.
        scale: what every coordinate is divided by.
        kind: which of the covariances every group has.
        covariance: in units of the scales, of all rows' deviations first, then of the rows of every
            group that has one of its own.
    """

    means: Float[np.ndarray, "K D"]
    scale: Float[np.ndarray, "D"]
    kind: Int[np.ndarray, "K"]
    covariance: Float[np.ndarray, "G D D"]

    @classmethod
    def of(
        cls,
        z: Float[np.ndarray, "n D"],
        group: Int[np.ndarray, "n"],
        groups: int,
        own: Int[np.ndarray, "large"],
        scales: Scales,
    ) -> Spread:
        """Estimate them; `own` are the groups that have a covariance of their own."""
        means = group_means(z, group, groups)
        deviations = z - means[group]
        scale, lacking = scales(deviations)
        kind = np.zeros(groups, dtype=np.int64)
        kind[own] = 1 + np.arange(len(own))
        rows = [deviations / scale, *(deviations[group == k] / scale for k in own)]
        return cls(means, scale, kind, np.stack([ledoit_wolf(r) + np.diag(lacking) for r in rows]))


def group_means(
    z: Float[np.ndarray, "n D"], group: Int[np.ndarray, "n"], groups: int
) -> Float[np.ndarray, "K D"]:
    """The mean of every group's rows and `PRIOR_ROWS` rows of the overall mean."""
    member = np.eye(groups)[group]
    return (member.T @ z + PRIOR_ROWS * z.mean(0)) / (member.sum(0)[:, None] + PRIOR_ROWS)


def own_scales(
    deviations: Float[np.ndarray, "n D"],
) -> tuple[Float[np.ndarray, "D"], Float[np.ndarray, "D"]]:
    """Every coordinate's standard deviation, and the variance it lacks of 1 in units of it.

    A coordinate that hardly varies is taken to vary by `SMALLEST_SCALE` times what an average one
    does, and lacks what it does not; where none varies, by 1.
    """
    spread = deviations.std(0)
    floor = SMALLEST_SCALE * np.sqrt(np.mean(spread**2))
    scale = np.maximum(spread, floor if floor > 0 else 1.0)
    return scale, 1 - (spread / scale) ** 2


def common_scale(
    deviations: Float[np.ndarray, "n D"],
) -> tuple[Float[np.ndarray, "D"], Float[np.ndarray, "D"]]:
    """The standard deviation of an average coordinate, for all, and `SMALLEST_SCALE` squared.

    Where none varies, 1 and 1.
    """
    ones = np.ones(deviations.shape[1])
    average = np.sqrt(np.mean(deviations.std(0) ** 2))
    return (average * ones, SMALLEST_SCALE**2 * ones) if average > 0 else (ones, ones)


def ledoit_wolf(deviations: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "D D"]:
    """The covariance of centred rows, shrunk toward a multiple of the identity."""
    return np.asarray(covariance.ledoit_wolf(deviations, assume_centered=True)[0])


def folds(n: int) -> list[tuple[Int[np.ndarray, "some"], Int[np.ndarray, "other"]]]:
    """`FOLDS` seeded ways to hold some of n rows out."""
    return list(KFold(min(FOLDS, n), shuffle=True, random_state=0).split(np.empty(n)))
