"""A Gaussian code for vectors: one mean per group, one shrunk covariance for all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from sklearn.covariance import LedoitWolf
from sklearn.model_selection import KFold

LOG2_E = float(np.log2(np.e))
FOLDS = 5
PRIOR_ROWS = 1.0
SMALLEST_SCALE = 1e-3


@dataclass(frozen=True)
class GaussianCode:
    """How many bits a vector costs more, or fewer, than a typical one of its group.

    The code length of z in group k is (1/2) log2(e) (z - mean_k)^T precision (z - mean_k), up to a
    constant. Its distance from the typical length, in either direction, is the score: for a
    Gaussian in many dimensions the most likely vector is as untypical as an unlikely one (Nalisnick
    et al. 2019, arXiv 1906.02994).

    Attributes:
        means: the mean of every group; a group of n rows borrows from the overall mean as from one
            further row.
        scale: the standard deviation of every coordinate around the means.
        precision: inverse of the Ledoit-Wolf covariance of the scaled deviations.
        typical: the median code length of rows the code was not fitted on (5-fold).
    """

    means: Float[np.ndarray, "K D"]
    scale: Float[np.ndarray, "D"]
    precision: Float[np.ndarray, "D D"]
    typical: Float[np.ndarray, ""]

    @classmethod
    def fit(
        cls, z: Float[np.ndarray, "n D"], group: Int[np.ndarray, "n"], groups: int
    ) -> GaussianCode:
        """Fit the code to reference vectors, and its typical length to held-out folds of them."""
        held_out = np.empty(len(z))
        for rows, others in KFold(min(FOLDS, len(z)), shuffle=True, random_state=0).split(z):
            fold = cls._fit(z[rows], group[rows], groups)
            held_out[others] = fold.length(z[others], group[others])
        typical = np.asarray(np.median(held_out))
        whole = cls._fit(z, group, groups)
        return GaussianCode(whole.means, whole.scale, whole.precision, typical)

    @classmethod
    def _fit(
        cls, z: Float[np.ndarray, "n D"], group: Int[np.ndarray, "n"], groups: int
    ) -> GaussianCode:
        member = np.eye(groups)[group]
        sums, counts = member.T @ z, member.sum(0)[:, None]
        means = (sums + PRIOR_ROWS * z.mean(0)) / (counts + PRIOR_ROWS)
        deviations = z - means[group]
        spread = deviations.std(0)
        floor = SMALLEST_SCALE * np.sqrt(np.mean(spread**2))
        scale = np.maximum(spread, floor if floor > 0 else 1.0)
        if floor == 0:
            return GaussianCode(means, scale, np.eye(z.shape[1]), np.zeros(()))
        covariance = LedoitWolf(assume_centered=True).fit(deviations / scale).covariance_
        return GaussianCode(means, scale, np.linalg.inv(covariance), np.zeros(()))

    def deviation(
        self, z: Float[np.ndarray, "n D"], group: Int[np.ndarray, "n"]
    ) -> Float[np.ndarray, "n D"]:
        """Scaled distance from the group's mean."""
        return (z - self.means[group]) / self.scale

    def length(
        self, z: Float[np.ndarray, "n D"], group: Int[np.ndarray, "n"]
    ) -> Float[np.ndarray, "n"]:
        """Code length in bits, up to a constant."""
        deviation = self.deviation(z, group)
        return 0.5 * LOG2_E * (deviation @ self.precision * deviation).sum(1)

    def bits(
        self, z: Float[np.ndarray, "n D"], group: Int[np.ndarray, "n"]
    ) -> Float[np.ndarray, "n"]:
        """|code length - typical code length|, in bits."""
        return np.abs(self.length(z, group) - self.typical)

    def part_bits(
        self,
        z: Float[np.ndarray, "n D"],
        group: Int[np.ndarray, "n"],
        parts: Int[np.ndarray, "P k"],
    ) -> Float[np.ndarray, "n P"]:
        """Bits by which the code would be shorter if one part of the coordinates were left out.

        With u = precision deviation, leaving out the coordinates J shortens the code by
        (1/2) log2(e) u_J^T (precision_JJ)^-1 u_J.

        Args:
            z: vectors.
            group: the group of each.
            parts: the coordinates of each part.
        """
        u = (self.deviation(z, group) @ self.precision)[:, parts]
        blocks = np.linalg.inv(self.precision[parts[:, :, None], parts[:, None, :]])
        return 0.5 * LOG2_E * np.einsum("npj,pjk,npk->np", u, blocks, u)
