"""Inverse covariances that exist for any rows, and the distances they define."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from sklearn.covariance import LedoitWolf


def precision(deviations: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "D D"]:
    """Inverse of the Ledoit-Wolf covariance of centred rows; the identity if all of them vanish."""
    if not deviations.any():
        return np.eye(deviations.shape[1])
    return np.asarray(LedoitWolf(assume_centered=True).fit(deviations).precision_)


def squared_distances(
    deviations: Float[np.ndarray, "n D"], inverse: Float[np.ndarray, "D D"]
) -> Float[np.ndarray, "n"]:
    """Deviation^T precision deviation, row by row."""
    return np.einsum("nd,nd->n", deviations @ inverse, deviations)
