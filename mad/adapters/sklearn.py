"""The detector as a scikit-learn outlier estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from mad.adapters.rows import as_taken, scored
from mad.calibration import highest_usual
from mad.detector import Detector
from mad.errors import InputError
from mad.result import Result


class MechanisticOutlierDetector(OutlierMixin, BaseEstimator):
    """Outliers by how untypical the way is in which a network treats them.

    As scikit-learn has it, high scores are normal, so `score_samples` is *minus* the bits. Inputs
    are rows, flattened or not, of floats or of whole numbers. Those that hold NaN or infinity, or
    take the network out of the range of its numbers, are refused, where `mad.Detector` marks them.

    `fit` profiles and calibrates on trusted inputs. Rows that the decomposition was trained on are
    left out, in folds of them too; behind a step that alters them they are not known, and p-values
    come out too small.

    Args:
        decomposition: a `mad.Decomposition`, or a function that makes one of the inputs to fit; as
            with all of these, `fit` finds out whether it is one.
        alpha: the share of false alarms on inputs like those to fit, between 0 and 1.
        explain: which output to explain: "predicted", "all" or an index.
        calibration: "pooled" or "per-class"; see `mad.Detector.fit`.
        seed: fixes which rows profile and which calibrate.

    Attributes:
        detector_: the fitted `mad.Detector`.
        offset_: the score below which inputs are flagged, where p-values are pooled; -inf where
            alpha is too small for the calibration to flag anything.
        n_features_in_: the length of the second axis of the inputs to fit: of rows, their numbers.
    """

    detector_: Detector
    offset_: float
    n_features_in_: int

    def __init__(
        self,
        decomposition: Any,
        *,
        alpha: Any = 0.01,
        explain: Any = "predicted",
        calibration: Any = "pooled",
        seed: Any = 0,
    ) -> None:
        self.decomposition = decomposition
        self.alpha = alpha
        self.explain = explain
        self.calibration = calibration
        self.seed = seed

    def fit(self, X: Any, y: object = None) -> MechanisticOutlierDetector:
        """Profile and calibrate on trusted inputs.

        Raises:
            ValueError: the inputs are no rows of finite numbers.
            ReferenceError: too few rows are left.
            InputError: they do not have the decomposition's shape, or a setting is none.
        """
        if not 0 < self.alpha < 1:
            raise InputError(f"alpha is {self.alpha}, which is not between 0 and 1")
        x = np.asarray(validate_data(self, X, allow_nd=True))
        made: Any = self.decomposition(x) if callable(self.decomposition) else self.decomposition
        self.detector_ = Detector.fit(
            made,
            as_taken(x, made),
            explain=self.explain,
            calibration=self.calibration,
            seed=self.seed,
        )
        self.offset_ = -highest_usual(self.detector_.calibration.bits, self.alpha)
        return self

    def score_samples(self, X: Any) -> Float[np.ndarray, "n"]:
        """Minus the bits of every input: high = normal."""
        return -self._scored(X).bits

    def decision_function(self, X: Any) -> Float[np.ndarray, "n"]:
        """`score_samples` less the offset: below 0 where an input is flagged.

        Calibrated per class, the offset is that of the predicted class.
        """
        result = self._scored(X)
        highest = np.empty(len(result.bits))
        for rows, scores in result.calibration.groups(result.prediction):
            highest[rows] = highest_usual(scores, self.alpha)
        return highest - result.bits

    def predict(self, X: Any) -> Int[np.ndarray, "n"]:
        """-1 where an input is flagged (p <= alpha), 1 elsewhere.

        Warns:
            CalibrationWarning: some inputs' p-values cannot be so small.
        """
        return np.where(self._scored(X).flagged(self.alpha), -1, 1)

    def _scored(self, X: Any) -> Result:
        check_is_fitted(self)
        x = np.asarray(validate_data(self, X, reset=False, allow_nd=True))
        return scored(self.detector_, x)
