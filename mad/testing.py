"""Assertions for a test suite of your own: that a detector finds what it should, and else is calm.

from mad.testing import assert_calm, assert_detects
"""

from __future__ import annotations

from typing import Any

from scipy.stats import betabinom

from mad import metrics
from mad.detector import Detector
from mad.result import Result

CONFIDENCE = 0.99


def assert_detects(
    detector: Detector,
    anomalies: Any,
    *,
    clean: Any,
    auroc: float = 0.9,
    tpr: float = 0.0,
    at_fpr: float = 0.01,
) -> None:
    """Fail where a detector does not tell anomalies from clean inputs well enough.

    Args:
        detector: a fitted detector.
        anomalies: inputs [n, ...] it should find.
        clean: inputs [m, ...] like the reference, and not among those it was fitted on.
        auroc: the least probability that an anomaly scores above a clean input.
        tpr: the least share of anomalies found at a threshold that ...
        at_fpr: ... this share of clean inputs reach.

    Raises:
        AssertionError: with the figures.
    """
    clean_bits, bits = scored(detector, clean).bits, scored(detector, anomalies).bits
    of = f"of {len(bits)} anomalies and {len(clean_bits)} clean inputs"
    found = metrics.auroc(clean_bits, bits)
    if found < auroc:
        raise AssertionError(f"the AUROC {of} is {found:.4f}, and {auroc:g} was asked for")
    share = metrics.tpr_at_fpr(clean_bits, bits, at_fpr)
    if share < tpr:
        raise AssertionError(
            f"the share of anomalies found at {at_fpr:g} false alarms, {of}, is {share:.4f}, "
            f"and {tpr:g} was asked for"
        )


def assert_calm(detector: Detector, clean: Any, *, alpha: float = 0.01) -> None:
    """Fail where a detector flags more clean inputs than chance explains.

    More than the 99 % quantile of what chance flags (`mad.metrics.alarm_laws`) fails, so a detector
    that is in order fails one time in a hundred at most. Calibrated per class, each class counts by
    itself, and the small ones together, at a hundredth divided by the number of these.

    Args:
        detector: a fitted detector.
        clean: inputs [n, ...] like the reference, and not among those it was fitted on.
        alpha: the share of false alarms that is flagged for.

    Raises:
        AssertionError: with the figures.

    Warns:
        CalibrationWarning: some inputs could not be flagged, whatever they are.
    """
    result = scored(detector, clean)
    flags = result.flagged(alpha)
    groups = list(metrics.alarm_laws(result.calibration, result.prediction, alpha))
    for rows, law in groups:
        most = int(betabinom.isf((1 - CONFIDENCE) / len(groups), *law))
        alarms = int(flags[rows].sum())
        if alarms > most:
            raise AssertionError(
                f"{alarms} of {int(rows.sum())} clean inputs are flagged at alpha {alpha:g}, "
                f"and up to {most} would be chance, with {law[1] + law[2] - 1} calibration inputs"
            )


def scored(detector: Detector, x: Any) -> Result:
    """The scores of inputs that can all be scored.

    Raises:
        AssertionError: some cannot.
    """
    result = detector.score(x)
    if not result.finite.all():
        raise AssertionError(
            f"{int((~result.finite).sum())} of {len(result.finite)} inputs hold NaN or infinity, "
            "or take the network out of range, and cannot be scored"
        )
    return result
