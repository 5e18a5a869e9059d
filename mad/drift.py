"""Whether a batch as a whole is treated as the calibration inputs are, whatever single inputs do.

Two questions, each asked of two finite samples, so that the calibration's own chance is counted: do
the scores of n inputs differ from those of m calibration inputs, and do the predictions? Changing k
of the inputs moves either statistic by at most k / n, however odd these are, and at level 0.01 the
first has to reach about 1.6 sqrt(1/m + 1/n). So a handful of anomalies is not drift, and a shift
of all inputs is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import kstwo

from mad.calibration import ROUNDING, Calibration
from mad.errors import InputError

DRAWS = 1999
MOST_DRAWN = 10**8
NUMBERS_AT_ONCE = 2**20
MORE_SURPRISING = "more surprising"
MORE_TYPICAL = "more typical"


@dataclass(frozen=True)
class Drift:
    """How the scores and predictions of a batch differ from the calibration inputs'.

    Under the null hypothesis the batch's inputs and the calibration's are exchangeable; inputs that
    depend on each other, such as frames of one film, are not. Scores are compared over all classes
    together, whatever the calibration, so a changed mix of classes can show in both answers.

    Attributes:
        inputs: how many of the batch were scored.
        statistic: the largest difference, at any score, between the shares of the batch and of the
            calibration that score so much or less (two-sample Kolmogorov-Smirnov).
        p_value: the chance of as large a one in either direction under the null hypothesis.
        direction: "more surprising" where the largest difference is that the batch scores higher,
            "more typical" where it is that it scores lower.
        shares: by class, the share of the batch and of the calibration it is predicted for.
        share_statistic: half the sum of their absolute differences.
        share_p_value: the chance of as large a sum under the null hypothesis.
    """

    inputs: int
    statistic: float
    p_value: float
    direction: str
    shares: dict[int, tuple[float, float]]
    share_statistic: float
    share_p_value: float

    def drifted(self, alpha: float = 0.01) -> bool:
        """Whether the scores differ; said of about alpha of reference-like batches at most."""
        return self.p_value <= alpha

    def shifted(self, alpha: float = 0.01) -> bool:
        """Whether the predictions' shares differ; said of at most alpha of such batches."""
        return self.share_p_value <= alpha


@dataclass(frozen=True, eq=False)
class Tally:
    """All that drift needs to know of a batch; that of a long stream is the sum of its parts'.

    Attributes:
        calibration: the scores compared with.
        places: how many of the batch there are at every place among the calibration's scores: a
            place is #{calibration < bits} + #{calibration <= bits}.
        predictions: how often every class was predicted.
    """

    calibration: Calibration
    places: Int[np.ndarray, "places"]
    predictions: Counter[int]

    @classmethod
    def of(
        cls,
        calibration: Calibration,
        bits: Float[np.ndarray, "n"],
        prediction: Int[np.ndarray, "n"],
    ) -> Tally:
        """The tally of scored inputs, without NaN."""
        return cls(
            calibration, places_of(calibration.bits, bits), Counter[int](prediction.tolist())
        )

    def __add__(self, other: Tally) -> Tally:
        """The tally of both parts, scored by the same detector."""
        return Tally(
            self.calibration, self.places + other.places, self.predictions + other.predictions
        )

    def drift(self) -> Drift:
        """Compare with the calibration.

        Raises:
            InputError: there are no inputs.
        """
        m, n = len(self.calibration.bits), int(self.places.sum())
        gap = self.gap()
        classes, batch, reference = self.counts()
        shares = zip((batch / n).tolist(), (reference / m).tolist(), strict=True)
        return Drift(
            inputs=n,
            statistic=float(np.abs(gap).max()),
            p_value=self.p_value(),
            direction=MORE_SURPRISING if gap.max() >= -gap.min() else MORE_TYPICAL,
            shares=dict(zip(classes, shares, strict=True)),
            share_statistic=float(distances(batch[None], reference[None])[0]),
            share_p_value=exchanged(batch, reference),
        )

    def p_value(self) -> float:
        """The drift's `p_value`, which the predictions play no part in.

        Raises:
            InputError: there are no inputs.
        """
        m, n = len(self.calibration.bits), int(self.places.sum())
        return kolmogorov(float(np.abs(self.gap()).max()), m, n)

    def gap(self) -> Float[np.ndarray, "places"]:
        """By how much more of the calibration than of the batch is at a place or below it.

        Raises:
            InputError: there are no inputs.
        """
        m, n = len(self.calibration.bits), int(self.places.sum())
        if n == 0:
            raise InputError("no input was scored, so there is nothing to compare")
        own = places_of(self.calibration.bits, self.calibration.bits)
        return own.cumsum() / m - self.places.cumsum() / n

    def counts(self) -> tuple[list[int], Int[np.ndarray, "K"], Int[np.ndarray, "K"]]:
        """The classes predicted, and how often for the batch and for the calibration."""
        reference = Counter[int](self.calibration.prediction.tolist())
        classes = sorted(self.predictions | reference)
        return (
            classes,
            np.array([self.predictions[k] for k in classes]),
            np.array([reference[k] for k in classes]),
        )


def kolmogorov(statistic: float, m: int, n: int) -> float:
    """The p-value of a two-sample Kolmogorov-Smirnov statistic, also of very few inputs.

    Kolmogorov's for mn / (m + n) inputs, rounded down, at the statistic times l / (l + 1), l being
    the larger of m and n: a batch of one has exactly its two-sided conformal p-value.
    """
    larger = max(m, n)
    inputs = max(1, m * n // (m + n))
    return float(kstwo.sf(statistic * larger / (larger + 1), inputs))


def places_of(
    calibration: Float[np.ndarray, "m"], bits: Float[np.ndarray, "n"]
) -> Int[np.ndarray, "places"]:
    """How many scores there are at each of the 2 m + 1 places among ascending scores."""
    below = np.searchsorted(calibration, bits, side="left")
    level = np.searchsorted(calibration, bits, side="right")
    return np.bincount(below + level, minlength=2 * len(calibration) + 1)


def distances(
    first: Int[np.ndarray, "draws K"], second: Int[np.ndarray, "draws K"]
) -> Float[np.ndarray, "draws"]:
    """The total variation distance between the shares of two counts, row by row."""
    shares = first / first.sum(1, keepdims=True) - second / second.sum(1, keepdims=True)
    return 0.5 * np.abs(shares).sum(1)


def exchanged(first: Int[np.ndarray, "K"], second: Int[np.ndarray, "K"]) -> float:
    """The p-value of the distance of two counts, by exchanging inputs at random, seeded.

    It is 1 / (`DRAWS` + 1) at least. Of over `MOST_DRAWN` inputs in the first, as many are in their
    place, in the same shares.
    """
    first = np.floor(first * min(1.0, MOST_DRAWN / first.sum())).astype(np.int64)
    total = first + second
    observed = distances(first[None], second[None])[0]
    rng, reached = np.random.default_rng(0), 0
    at_once = max(1, NUMBERS_AT_ONCE // len(total))
    for start in range(0, DRAWS, at_once):
        size = min(at_once, DRAWS - start)
        draws = rng.multivariate_hypergeometric(total, first.sum(), size)
        reached += int((distances(draws, total - draws) >= observed - ROUNDING).sum())
    return (1 + reached) / (DRAWS + 1)
