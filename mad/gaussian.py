"""Gaussian codes for vectors: how many bits one costs more, or fewer, than a typical one.

A code's length is (1/2) log2(e) (z - mean)^T precision (z - mean) + (1/2) log2 det covariance, up
to a constant. Its distance from the typical length, in either direction, is the score: for a
Gaussian in many dimensions the most likely vector is as untypical as an unlikely one (Nalisnick et
al. 2019, arXiv 1906.02994).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn.covariance import LedoitWolf
from sklearn.model_selection import KFold

LOG2_E = float(np.log2(np.e))
FOLDS = 5
PRIOR_ROWS = 1.0
SMALLEST_SCALE = 1e-3
MOST_DIRECTIONS = 64
OWN_SHARES = (0.0, 0.25, 0.5, 0.75, 0.9)
FEWEST_ROWS = 25
MOST_NUMBERS = 2**22


@dataclass(frozen=True)
class GaussianCode:
    """One mean per group, and a covariance that is partly the group's own.

    A group of `FEWEST_ROWS` rows or more has the covariance (1 - own) S + own S_k, where S is that
    of all rows' deviations and S_k that of its own rows', both shrunk; the others have S
    (regularised discriminant analysis, Friedman 1989). Of `OWN_SHARES` it is the share under which
    rows that the code was not fitted on are the shortest.

    Attributes:
        means: the mean of every group; a group of n rows borrows from the overall mean as from one
            further row.
        kind: which of the covariances every group has; 0 is S.
        precision: their inverses.
        variance: of every coordinate by itself, the diagonals of the covariances.
        volume: (1/2) log2 of their determinants over that of S.
        typical: the median code length of every group's rows that the code was not fitted on
            (5-fold); of all such rows for groups of fewer than `FEWEST_ROWS`.
    """

    means: Float[np.ndarray, "K D"]
    kind: Int[np.ndarray, "K"]
    precision: Float[np.ndarray, "G D D"]
    variance: Float[np.ndarray, "G D"]
    volume: Float[np.ndarray, "G"]
    typical: Float[np.ndarray, "K"]

    @classmethod
    def fit(
        cls,
        z: Float[np.ndarray, "n D"],
        group: Int[np.ndarray, "n"],
        groups: int,
        least: float = SMALLEST_SCALE,
    ) -> GaussianCode:
        """Fit the code to reference vectors, its own share and typical lengths to held-out ones.

        Args:
            z: the vectors.
            group: the group of each.
            groups: how many there are.
            least: what a coordinate is taken to vary by at least, times what an average one does.
        """
        large = np.flatnonzero(np.bincount(group, minlength=groups) >= FEWEST_ROWS)
        own_ones = large if (1 + len(large)) * z.shape[1] ** 2 <= MOST_NUMBERS else large[:0]
        shares = OWN_SHARES if len(own_ones) else OWN_SHARES[:1]
        held_out = {own: np.empty(len(z)) for own in shares}
        for rows, others in folds(len(z)):
            spread = Spread.of(z[rows], group[rows], groups, own_ones, least)
            for own, lengths in held_out.items():
                lengths[others] = cls._of(spread, own).lengths(z[others], group[others])[0]
        own = min(shares, key=lambda share: held_out[share].mean())
        code = cls._of(Spread.of(z, group, groups, own_ones, least), own)
        typical = np.full(groups, np.median(held_out[own]))
        for k in large:
            typical[k] = np.median(held_out[own][group == k])
        return replace(code, typical=typical)

    @classmethod
    def _of(cls, spread: Spread, own: float) -> GaussianCode:
        """The code with that share; one covariance serves all where it is nobody's own."""
        shared, kind = spread.covariance[:1], spread.kind
        covariance = (1 - own) * shared + own * spread.covariance if own else shared
        precision = np.linalg.inv(covariance) / np.outer(spread.scale, spread.scale)
        variance = covariance.diagonal(axis1=1, axis2=2) * spread.scale**2
        volume = 0.5 * LOG2_E * np.linalg.slogdet(covariance)[1]
        volume -= volume[0]
        untyped = np.zeros(len(kind))
        return cls(spread.means, kind if own else 0 * kind, precision, variance, volume, untyped)

    def lengths(
        self, z: Float[np.ndarray, "n D"], group: Int[np.ndarray, "n"]
    ) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n D"]]:
        """Code lengths in bits, up to a constant, and by how much each coordinate lengthens them.

        A coordinate's bits are (1/2) log2(e) max(0, deviation_j)^2 / variance_j: what it costs by
        itself to be above its group's mean.

        Args:
            z: vectors.
            group: the group of each.
        """
        deviation, kind = z - self.means[group], self.kind[group]
        u = np.empty_like(deviation)
        for k in np.unique(kind):
            np.copyto(u, deviation @ self.precision[k], where=(kind == k)[:, None])
        square = np.einsum("nd,nd->n", u, deviation)
        above = np.square(deviation.clip(min=0, out=deviation), out=deviation)
        above *= (0.5 * LOG2_E / self.variance)[kind]
        return 0.5 * LOG2_E * square + self.volume[kind], above

    def bits(
        self, z: Float[np.ndarray, "n D"], group: Int[np.ndarray, "n"]
    ) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n D"]]:
        """|code length - typical length|, and what each coordinate costs by itself, `lengths`."""
        lengths, of_coordinates = self.lengths(z, group)
        return np.abs(lengths - self.typical[group]), of_coordinates


class Spread(NamedTuple):
    """What the rows of several groups tell of their distributions.

    Attributes:
        means: of every group, borrowing from the overall mean.
        scale: every coordinate's standard deviation from its group's mean.
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
        least: float,
    ) -> Spread:
        """Estimate them; `own` are the groups that have a covariance of their own."""
        means = group_means(z, group, groups)
        deviations = z - means[group]
        scale, lacking = scales(deviations, least)
        kind = np.zeros(groups, dtype=np.int64)
        kind[own] = 1 + np.arange(len(own))
        rows = [deviations / scale, *(deviations[group == k] / scale for k in own)]
        return cls(means, scale, kind, np.stack([ledoit_wolf(r) + np.diag(lacking) for r in rows]))


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
        lengths = [cls._of(z[rows]).lengths(z[others]) for rows, others in folds(len(z))]
        return replace(cls._of(z), typical=np.asarray(np.median(np.concatenate(lengths))))

    @classmethod
    def _of(cls, z: Float[np.ndarray, "n D"]) -> WideCode:
        mean = z.mean(0)
        scale, lacking = scales(z - mean, SMALLEST_SCALE)
        covariance = ledoit_wolf((z - mean) / scale) + np.diag(lacking)
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


def scales(
    deviations: Float[np.ndarray, "n D"], least: float
) -> tuple[Float[np.ndarray, "D"], Float[np.ndarray, "D"]]:
    """Every coordinate's standard deviation, and the variance it lacks of 1 in units of it.

    A coordinate that hardly varies is taken to vary by `least` times what an average one does, and
    lacks what it does not; where none varies, by 1.
    """
    spread = deviations.std(0)
    floor = least * np.sqrt(np.mean(spread**2))
    scale = np.maximum(spread, floor if floor > 0 else 1.0)
    return scale, 1 - (spread / scale) ** 2


def ledoit_wolf(deviations: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "D D"]:
    """The covariance of centred rows, shrunk toward a multiple of the identity."""
    return np.asarray(LedoitWolf(assume_centered=True).fit(deviations).covariance_)


def folds(n: int) -> list[tuple[Int[np.ndarray, "some"], Int[np.ndarray, "other"]]]:
    """`FOLDS` seeded ways to hold some of n rows out."""
    return list(KFold(min(FOLDS, n), shuffle=True, random_state=0).split(np.empty(n)))
