"""The reference, class by class; classes with few rows make do with everyone's."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

ENOUGH_ROWS = 10


def class_means(
    features: Float[np.ndarray, "n D"], prediction: Int[np.ndarray, "n"], classes: int
) -> Float[np.ndarray, "K D"]:
    """The mean of every class; the overall mean for a class without rows."""
    rows = [features[prediction == k] for k in range(classes)]
    return np.stack([(own if len(own) else features).mean(0) for own in rows])


def class_rows(
    features: Float[np.ndarray, "n D"], prediction: Int[np.ndarray, "n"], classes: int
) -> list[Float[np.ndarray, "_ D"]]:
    """The rows of every class; all rows for a class with fewer than `ENOUGH_ROWS`."""
    rows = [features[prediction == k] for k in range(classes)]
    return [own if len(own) >= ENOUGH_ROWS else features for own in rows]
