"""How well a score separates anomalies from clean inputs; higher score = more anomalous."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from sklearn.metrics import roc_auc_score, roc_curve

ROUNDING = 1e-12


def auroc(clean: Float[np.ndarray, "n"], anomalous: Float[np.ndarray, "m"]) -> float:
    """The probability that an anomaly scores above a clean input, ties counting half."""
    labels = np.repeat([0, 1], [len(clean), len(anomalous)])
    return float(roc_auc_score(labels, np.concatenate([clean, anomalous])))


def tpr_at_fpr(
    clean: Float[np.ndarray, "n"], anomalous: Float[np.ndarray, "m"], fpr: float
) -> float:
    """The largest share of anomalies found at any threshold that `fpr` of clean inputs reach."""
    labels = np.repeat([0, 1], [len(clean), len(anomalous)])
    false, true, _ = roc_curve(labels, np.concatenate([clean, anomalous]), drop_intermediate=False)
    return float(true[false <= fpr + ROUNDING].max())
