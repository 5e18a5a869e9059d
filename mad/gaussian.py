"""Gaussian codes for vectors: how many bits one costs more, or fewer, than a typical one.

A code's length is (1/2) log2(e) (z - mean)^T precision (z - mean), up to a constant. Its distance
from the typical length, in either direction, is the score: for a Gaussian in many dimensions the
most likely vector is as untypical as an unlikely one (Nalisnick et al. 2019, arXiv 1906.02994).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from sklearn.covariance import LedoitWolf
from sklearn.model_selection import KFold

LOG2_E = float(np.log2(np.e))
FOLDS = 5
PRIOR_ROWS = 1.0
SMALLEST_SCALE = 1e-3
MOST_DIRECTIONS = 64


@dataclass(frozen=True)
class GaussianCode:
    """One mean per group, one full covariance for all.

    Attributes:
        means: the mean of every group; a group of n rows borrows from the overall mean as from one
            further row.
        precision: inverse of the shrunk covariance of the deviations from them.
        typical: the median code length of rows the code was not fitted on (5-fold).
    """

    means: Float[np.ndarray, "K D"]
    precision: Float[np.ndarray, "D D"]
    typical: Float[np.ndarray, ""]

    @classmethod
    def fit(
        cls, z: Float[np.ndarray, "n D"], group: Int[np.ndarray, "n"], groups: int
    ) -> GaussianCode:
        """Fit the code to reference vectors, and its typical length to held-out folds of them."""

        def of(rows: Int[np.ndarray, "some"]) -> GaussianCode:
            means = group_means(z[rows], group[rows], groups)
            scale, covariance = shrunk_covariance(z[rows] - means[group[rows]])
            precision = np.linalg.inv(covariance) / np.outer(scale, scale)
            return cls(means, precision, np.zeros(()))

        def lengths(rows: Int[np.ndarray, "some"], others: Int[np.ndarray, "other"]):
            return of(rows).lengths(z[others], group[others])[0]

        return replace(of(np.arange(len(z))), typical=held_out_median(lengths, len(z)))

    def lengths(
        self, z: Float[np.ndarray, "n D"], group: Int[np.ndarray, "n"]
    ) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n D"]]:
        """Code lengths in bits, up to a constant, and by how much each coordinate lengthens them.

        With u = precision deviation, leaving coordinate j out shortens the code by
        (1/2) log2(e) u_j^2 / precision_jj.

        Args:
            z: vectors.
            group: the group of each.
        """
        deviation = z - self.means[group]
        u = deviation @ self.precision
        length = np.einsum("nd,nd->n", u, deviation)
        np.square(u, out=u)
        u *= 0.5 * LOG2_E / self.precision.diagonal()
        return 0.5 * LOG2_E * length, u

    def bits(
        self, z: Float[np.ndarray, "n D"], group: Int[np.ndarray, "n"]
    ) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n D"]]:
        """|code length - typical length|, and by how much each coordinate lengthens the code."""
        lengths, of_coordinates = self.lengths(z, group)
        return np.abs(lengths - self.typical), of_coordinates


@dataclass(frozen=True)
class WideCode:
    """One mean, and a covariance that is isotropic but in its `MOST_DIRECTIONS` widest directions.

    What it costs grows with D, not D^2. Where D exceeds the directions kept, the others' variances,
    in units of the coordinates' scales, are replaced by their mean (probabilistic principal
    components, Tipping and Bishop 1999); where it does not, this is the full code.

    With variances v_r along orthonormal directions q_r and t along all others, the precision is
    1/t - sum_r (1/t - 1/v_r) q_r q_r^T.

    Attributes:
        mean: the overall mean.
        outside: 1/t per coordinate, over its squared scale.
        directions: sqrt(1/t - 1/v_r) q_r, over the coordinates' scales.
        typical: the median code length of rows the code was not fitted on (5-fold).
    """

    mean: Float[np.ndarray, "D"]
    outside: Float[np.ndarray, "D"]
    directions: Float[np.ndarray, "D r"]
    typical: Float[np.ndarray, ""]

    @classmethod
    def fit(cls, z: Float[np.ndarray, "n D"]) -> WideCode:
        """Fit the code to reference vectors, and its typical length to held-out folds of them."""

        def lengths(rows: Int[np.ndarray, "some"], others: Int[np.ndarray, "other"]):
            return cls._of(z[rows]).lengths(z[others])

        return replace(cls._of(z), typical=held_out_median(lengths, len(z)))

    @classmethod
    def _of(cls, z: Float[np.ndarray, "n D"]) -> WideCode:
        mean = z.mean(0)
        scale, covariance = shrunk_covariance(z - mean)
        variances, vectors = np.linalg.eigh(covariance)
        others = max(1, len(scale) - MOST_DIRECTIONS)
        outside = 1 / variances[:others].mean()
        less = np.maximum(outside - 1 / variances[others:], 0)
        directions = vectors[:, others:] * np.sqrt(less) / scale[:, None]
        return cls(mean, outside / scale**2, directions, np.zeros(()))

    def lengths(self, z: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n"]:
        """Code lengths in bits, up to a constant."""
        deviation = z - self.mean
        inside = np.square(deviation @ self.directions).sum(1)
        return 0.5 * LOG2_E * (np.square(deviation, out=deviation) @ self.outside - inside)

    def bits(self, z: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n"]:
        """|code length - typical code length|, in bits."""
        return np.abs(self.lengths(z) - self.typical)


def group_means(
    z: Float[np.ndarray, "n D"], group: Int[np.ndarray, "n"], groups: int
) -> Float[np.ndarray, "K D"]:
    """The mean of every group's rows and `PRIOR_ROWS` rows of the overall mean."""
    member = np.eye(groups)[group]
    return (member.T @ z + PRIOR_ROWS * z.mean(0)) / (member.sum(0)[:, None] + PRIOR_ROWS)


def shrunk_covariance(
    deviations: Float[np.ndarray, "n D"],
) -> tuple[Float[np.ndarray, "D"], Float[np.ndarray, "D D"]]:
    """Every coordinate's standard deviation, and the Ledoit-Wolf covariance in units of them.

    A coordinate that hardly varies is taken to vary by `SMALLEST_SCALE` times an average one.
    """
    spread = deviations.std(0)
    floor = SMALLEST_SCALE * np.sqrt(np.mean(spread**2))
    scale = np.maximum(spread, floor if floor > 0 else 1.0)
    if floor == 0:
        return scale, np.eye(len(scale))
    return scale, LedoitWolf(assume_centered=True).fit(deviations / scale).covariance_


def held_out_median(
    lengths: Callable[[Int[np.ndarray, "some"], Int[np.ndarray, "other"]], Float[np.ndarray, "m"]],
    n: int,
) -> Float[np.ndarray, ""]:
    """The median of `lengths(rows, others)` over `FOLDS` seeded ways to hold others of n out."""
    folds = KFold(min(FOLDS, n), shuffle=True, random_state=0).split(np.empty(n))
    return np.asarray(np.median(np.concatenate([lengths(*fold) for fold in folds])))
