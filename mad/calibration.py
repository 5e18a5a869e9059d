"""From bits to p-values that hold on any reference-like input."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def conformal_p_values(
    bits: Float[np.ndarray, "n"], calibration: Float[np.ndarray, "m"]
) -> Float[np.ndarray, "n"]:
    """(1 + #{calibration >= bits}) / (m + 1).

    For an input exchangeable with the calibration inputs, P(p <= alpha) <= alpha at every alpha
    (Vovk, Gammerman and Shafer 2005, section 2.2; Bates et al. 2023, arXiv 2104.08279, section 2).

    Args:
        bits: scores, higher = more anomalous; NaN gives NaN.
        calibration: the scores of calibration inputs, in ascending order.
    """
    at_least = len(calibration) - np.searchsorted(calibration, bits, side="left")
    return np.where(np.isnan(bits), np.nan, (1 + at_least) / (len(calibration) + 1))
