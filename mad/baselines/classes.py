"""The reference, class by class; classes with few rows make do with everyone's."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from mad.predicted import Predicted

ENOUGH_ROWS = 10


def class_means(
    features: Float[np.ndarray, "n D"], predicted: Predicted
) -> Float[np.ndarray, "K D"]:
    """The mean of every class; the overall mean for a class without rows."""
    rows = [features[predicted.label == k] for k in range(predicted.classes)]
    return np.stack([(own if len(own) else features).mean(0) for own in rows])


def class_rows(
    features: Float[np.ndarray, "n D"], predicted: Predicted
) -> list[Float[np.ndarray, "_ D"]]:
    """The rows of every class; all rows for a class with fewer than `ENOUGH_ROWS`."""
    rows = [features[predicted.label == k] for k in range(predicted.classes)]
    return [own if len(own) >= ENOUGH_ROWS else features for own in rows]
