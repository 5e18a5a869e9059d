"""How well a score separates anomalies from clean inputs; higher score = more anomalous."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from sklearn.metrics import roc_auc_score


def auroc(clean: Float[np.ndarray, "n"], anomalous: Float[np.ndarray, "m"]) -> float:
    """The probability that an anomaly scores above a clean input, ties counting half."""
    labels = np.repeat([0, 1], [len(clean), len(anomalous)])
    return float(roc_auc_score(labels, np.concatenate([clean, anomalous])))


def tpr_at_fpr(
    clean: Float[np.ndarray, "n"], anomalous: Float[np.ndarray, "m"], fpr: float
) -> float:
    """Share of anomalies above the lowest threshold that at most `fpr` of clean inputs exceed."""
    allowed = int(np.floor(fpr * len(clean)))
    threshold = np.sort(clean)[::-1][allowed]
    return float((anomalous > threshold).mean())
