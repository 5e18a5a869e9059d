"""The widest directions of a shrunk covariance, which is never formed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

SPARE = 16
ROUNDS = 8


class Widest(NamedTuple):
    """What a covariance is along its widest directions, and elsewhere.

    Attributes:
        directions: of length 1, at right angles.
        variances: along them, in rising order.
        outside: the mean variance of all others.
    """

    directions: Float[np.ndarray, "D r"]
    variances: Float[np.ndarray, "r"]
    outside: float


def widest(
    deviations: Float[np.ndarray, "n D"], lacking: Float[np.ndarray, "D"], most: int
) -> Widest:
    """Those of (1 - s) x^T x / n + s t I + diag(lacking), with t the mean square of a coordinate.

    By `ROUNDS` rounds of subspace iteration with `SPARE` more vectors than are asked for (Halko,
    Martinsson and Tropp 2011, section 4.5), so it takes n D numbers and not D^2. Exact where these
    vectors span everything.

    Args:
        deviations: x, centred rows.
        lacking: of every coordinate, a variance beside its own.
        most: how many directions; one is left outside at least.
    """
    n, d = deviations.shape
    share = shrinkage(deviations)
    diagonal = share * np.square(deviations).mean() + lacking

    def product(vectors: Float[np.ndarray, "D _k"]) -> Float[np.ndarray, "D _k"]:
        along = deviations.T @ (deviations @ vectors)
        return (1 - share) / n * along + diagonal[:, None] * vectors

    count = min(most, d - 1)
    start = np.random.default_rng(0).normal(size=(d, min(count + SPARE, d)))
    basis = np.linalg.qr(start)[0]
    for _ in range(ROUNDS):
        basis = np.linalg.qr(product(basis))[0]
    variances, turned = np.linalg.eigh(basis.T @ product(basis))
    total = (1 - share) * np.square(deviations).sum() / n + diagonal.sum()
    cut = len(variances) - count
    beside = total - variances.sum() if len(variances) < d else 0.0
    outside = (beside + variances[:cut].sum()) / (d - count)
    return Widest(basis @ turned[:, cut:], variances[cut:], float(outside))


def shrinkage(deviations: Float[np.ndarray, "n D"]) -> float:
    """s, the share of the identity in the shrunk covariance of centred rows.

    Ledoit and Wolf 2004 (A well-conditioned estimator for large-dimensional covariance matrices,
    section 3.3), from inner products of rows where these are fewer than coordinates.
    """
    n, d = deviations.shape
    squares = np.square(deviations)
    inner = deviations @ deviations.T if n < d else deviations.T @ deviations
    mean_square = np.square(inner).sum() / (n**2 * d)
    spread = mean_square - squares.mean() ** 2
    error = np.square(squares.sum(1)).sum() / (n**2 * d) - mean_square / n
    return float(min(error / spread, 1.0)) if min(error, spread) > 0 else 0.0
