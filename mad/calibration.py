"""From bits to p-values that hold on any reference-like input, and from budgets to an alpha."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import false_discovery_control

from mad.errors import InputError

FEWEST_CALIBRATION = 19
ROUNDING = 1e-12


class CalibrationWarning(UserWarning):
    """P-values are too coarse for the level asked for, or rest on inputs that were profiled."""


@dataclass(frozen=True, eq=False)
class Calibration(ABC):
    """The scores of calibration inputs, and which of them an input's p-value rests on.

    Attributes:
        bits: their scores, in ascending order.
        prediction: the class the network predicts for each.
    """

    bits: Float[np.ndarray, "m"]
    prediction: Int[np.ndarray, "m"]

    @classmethod
    def of(cls, bits: Float[np.ndarray, "m"], prediction: Int[np.ndarray, "m"]) -> Calibration:
        """The calibration by inputs in any order."""
        order = bits.argsort(kind="stable")
        return cls(bits[order], prediction[order])

    @abstractmethod
    def groups(
        self, prediction: Int[np.ndarray, "n"]
    ) -> Iterator[tuple[Bool[np.ndarray, "n"], Float[np.ndarray, "_"]]]:
        """Which inputs' p-values rest on which scores, in ascending order; every input once."""

    def p_values(
        self, bits: Float[np.ndarray, "n"], prediction: Int[np.ndarray, "n"]
    ) -> Float[np.ndarray, "n"]:
        """The conformal p-value of every input within its group; NaN bits give NaN."""
        p = np.empty(len(bits))
        for rows, scores in self.groups(prediction):
            p[rows] = conformal_p_values(bits[rows], scores)
        return p

    def finest(self, prediction: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        """The smallest p-value each input could have; it is never flagged at a smaller alpha."""
        p = np.empty(len(prediction))
        for rows, scores in self.groups(prediction):
            p[rows] = 1 / (len(scores) + 1)
        return p

    @abstractmethod
    def exchangeable(self, prediction: Int[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
        """Which inputs, if clean, are exchangeable with those that their p-value rests on."""

    @classmethod
    def flagged_at_most(cls, alpha: float) -> float:
        """The share of all inputs exchangeable with the calibration's flagged at alpha, at most."""
        return alpha

    @property
    def finest_alpha(self) -> float:
        """The smallest p-value that inputs of the classes calibrated on can have.

        None of them is ever flagged at a smaller alpha.
        """
        return float(self.finest(np.unique(self.prediction)).min(initial=1.0))


class Pooled(Calibration):
    """Every p-value rests on all calibration inputs.

    For an input exchangeable with them, P(p <= alpha) <= alpha: on average over the classes, so one
    class may be flagged more often and another less.
    """

    def groups(
        self, prediction: Int[np.ndarray, "n"]
    ) -> Iterator[tuple[Bool[np.ndarray, "n"], Float[np.ndarray, "_"]]]:
        """All inputs, on all scores."""
        yield self.exchangeable(prediction), self.bits

    def exchangeable(self, prediction: Int[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
        """All of them."""
        return np.ones(len(prediction), dtype=bool)


class PerClass(Calibration):
    """A p-value rests on the calibration inputs of the same predicted class (Mondrian).

    For an input exchangeable with the calibration inputs, P(p <= alpha | prediction k) <= alpha for
    every class k that has at least `FEWEST_CALIBRATION` of them (Vovk, Gammerman and Shafer 2005,
    section 4.5). The smallest p-value is then 1 / (calibration inputs of the class + 1).

    A class with fewer falls back on all calibration inputs. Of *all* inputs at most a share alpha
    is then flagged in such classes, taken together; within them, where inputs are rare, the share
    may be larger, and nothing is promised for any one of them. Over all classes, those without any
    calibration input among them, a share below 2 alpha is flagged.
    """

    @property
    def large(self) -> Int[np.ndarray, "_"]:
        """The classes with calibration inputs enough."""
        classes, counts = np.unique(self.prediction, return_counts=True)
        return classes[counts >= FEWEST_CALIBRATION]

    def exchangeable(self, prediction: Int[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
        """Those of classes with calibration inputs enough."""
        return np.isin(prediction, self.large)

    @classmethod
    def flagged_at_most(cls, alpha: float) -> float:
        """Twice alpha: another class may yet be predicted, of which there was no input."""
        return 2 * alpha

    def groups(
        self, prediction: Int[np.ndarray, "n"]
    ) -> Iterator[tuple[Bool[np.ndarray, "n"], Float[np.ndarray, "_"]]]:
        """The inputs of every class on its own scores, and those of small classes on all scores."""
        for k in np.intersect1d(self.large, prediction):
            yield prediction == k, self.bits[self.prediction == k]
        others = ~self.exchangeable(prediction)
        if others.any():
            yield others, self.bits


CALIBRATIONS: dict[str, type[Calibration]] = {"pooled": Pooled, "per-class": PerClass}


def calibration_named(name: str) -> type[Calibration]:
    """The kind of calibration of a name.

    Raises:
        InputError: there is none.
    """
    if name not in CALIBRATIONS:
        raise InputError(
            f"there is no calibration {name!r}; there are {' and '.join(map(repr, CALIBRATIONS))}"
        )
    return CALIBRATIONS[name]


def name_of(calibration: Calibration) -> str:
    """The name of its kind in `CALIBRATIONS`."""
    return next(name for name, kind in CALIBRATIONS.items() if type(calibration) is kind)


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


def highest_usual(calibration: Float[np.ndarray, "m"], alpha: float) -> float:
    """The bits that an input flagged at alpha exceeds.

    Infinite where none can be flagged, minus infinity where every one is.

    With l the largest number for which l / (m + 1) <= alpha, it is the l-th largest score: an input
    above it has at most l - 1 calibration inputs above it or beside it, and so p <= l / (m + 1).

    Args:
        calibration: the scores of calibration inputs, in ascending order.
        alpha: the share of false alarms.
    """
    bounds = np.concatenate([[-np.inf], calibration, [np.inf]])
    return float(bounds[-1 - attainable(len(calibration), alpha)])


def attainable(m: int, alpha: float) -> int:
    """How many of the p-values 1 / (m + 1), ..., m / (m + 1) and 1 an input is flagged at."""
    return int((np.arange(1, m + 2) / (m + 1) <= alpha).sum())


def alpha_for(
    alarms_per_day: float | int, inputs_per_day: float | int, calibration: str = "pooled"
) -> float:
    """The alpha at which trusted inputs raise so many alarms a day, at most and on average.

    Args:
        alarms_per_day: how many are welcome.
        inputs_per_day: how many inputs come in.
        calibration: "pooled", or "per-class", of which at most twice alpha is flagged
            (`PerClass`).

    Raises:
        InputError: the alarms are not between none and one for every input, or there is no such
            calibration.
    """
    if not 0 < alarms_per_day < inputs_per_day < np.inf:
        raise InputError(
            f"{alarms_per_day:g} alarms for {inputs_per_day:g} inputs are no budget; "
            "more than none and fewer than the inputs are needed"
        )
    return alarms_per_day / inputs_per_day / calibration_named(calibration).flagged_at_most(1.0)


def fewest_discoveries(n: int, finest: float, fdr: float) -> int:
    """How many of n inputs are discovered at least, where any are.

    Args:
        n: the inputs of a batch.
        finest: the smallest p-value there can be.
        fdr: the share of false ones among the discoveries that is allowed.

    Returns:
        More than n where there can be none.
    """
    return ceil(n * finest / fdr * (1 - ROUNDING)) if finest <= fdr else n + 1


def discovery_alpha(p_values: Float[np.ndarray, "n"], fdr: float) -> float:
    """The alpha at which flags are Benjamini and Hochberg's discoveries; 0 where there are none.

    It is the largest p_(k) with p_(k) <= k fdr / n, p_(1) <= ... <= p_(n) being the p-values in
    order (Benjamini and Hochberg 1995).

    Args:
        p_values: of a batch; NaN are left out.
        fdr: the share of false ones among the discoveries that is allowed, on average.
    """
    p = p_values[~np.isnan(p_values)]
    found = p[false_discovery_control(p) <= fdr * (1 + ROUNDING)]
    return float(found.max(initial=0.0))
