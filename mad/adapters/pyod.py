"""The detector as a PyOD detector; needs pyod."""

# What is not installed is not typed; PyOD's own types are those of methods that do nothing.
# pyright: reportMissingImports=false, reportUntypedBaseClass=false
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.utils.validation import check_array, check_is_fitted

from mad.adapters.rows import as_taken, scored
from mad.decomposition import Decomposition
from mad.detector import Detector

try:
    from pyod.models.base import BaseDetector
except ImportError as error:
    raise ImportError("mad.adapters.pyod needs pyod; install it with `pip install pyod`") from error


class MechanisticDetector(BaseDetector):
    """Outliers by how untypical the way is in which a network treats them.

    High scores are anomalous: `decision_function` is the bits. The threshold is PyOD's, the scores
    of the inputs it was fitted to that a share `contamination` exceeds; these are profiled, so new
    inputs exceed it more often than that. P-values, which say how often, are those of
    `detector_.score`. Rows that hold NaN or infinity, or take the network out of the range of its
    numbers, are refused.

    Args:
        decomposition: the decomposed network.
        contamination: the share of the inputs to fit that is labelled an outlier, above 0 and at
            most 0.5.
        explain: which output to explain: "predicted", "all" or an index.
        calibration: "pooled" or "per-class"; see `mad.Detector.fit`.
        seed: fixes which rows profile and which calibrate.

    Attributes:
        detector_: the fitted `mad.Detector`.
        decision_scores_: the bits of the inputs it was fitted to.
        threshold_: the bits above which an input is an outlier.
        labels_: 1 for each outlier of the inputs it was fitted to, 0 for each other.
    """

    detector_: Detector

    def __init__(
        self,
        decomposition: Decomposition,
        contamination: float = 0.1,
        explain: str | int = "predicted",
        calibration: str = "pooled",
        seed: int = 0,
    ) -> None:
        super().__init__(contamination=contamination)
        self.decomposition = decomposition
        self.explain = explain
        self.calibration = calibration
        self.seed = seed

    def fit(self, X: Any, y: object = None) -> MechanisticDetector:
        """Profile and calibrate on trusted inputs, flattened or not.

        Raises:
            ValueError: the inputs are no rows of finite numbers.
            ReferenceError: too few rows are left.
            InputError: they do not have the decomposition's shape, or a setting is none.
        """
        x = as_taken(check_array(X, allow_nd=True), self.decomposition)
        self._set_n_classes(y)
        self.detector_ = Detector.fit(
            self.decomposition,
            x,
            explain=self.explain,
            calibration=self.calibration,
            seed=self.seed,
        )
        self.decision_scores_ = scored(self.detector_, x).bits
        self._process_decision_scores()
        return self

    def decision_function(self, X: Any) -> Float[np.ndarray, "n"]:
        """The bits of every input: high = anomalous.

        Raises:
            sklearn.exceptions.NotFittedError: nothing has been fitted yet.
        """
        check_is_fitted(self, "detector_")
        return scored(self.detector_, check_array(X, allow_nd=True)).bits
