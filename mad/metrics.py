"""How well a score separates anomalies from clean inputs; higher score = more anomalous.

Every metric is a function of a `Ranking`, so it costs the same work for the inputs as they are and
for many draws of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import betabinom

from mad.calibration import ROUNDING, Calibration, attainable
from mad.errors import InputError

DRAWS = 1000
CONFIDENCE = 0.95
NUMBERS_AT_ONCE = 2**22


@dataclass(frozen=True, eq=False)
class Ranking:
    """How many inputs reach each threshold, the highest threshold first, in one draw or more.

    Attributes:
        clean: how many clean inputs do; the first, a threshold above all scores, is 0.
        anomalous: how many anomalous inputs do.
    """

    clean: Int[np.ndarray, "draws k"]
    anomalous: Int[np.ndarray, "draws k"]

    @classmethod
    def of(cls, clean: Float[np.ndarray, "n"], anomalous: Float[np.ndarray, "m"]) -> Ranking:
        """The one draw that is the inputs themselves, by scores without NaN, some of each kind."""
        values, place = np.unique(-np.concatenate([clean, anomalous]), return_inverse=True)
        counts = [
            np.bincount(own, minlength=len(values))[None]
            for own in (place[: len(clean)], place[len(clean) :])
        ]
        return cls(*map(reaching, counts))

    def resampled(self, draws: int, seed: int) -> Iterator[Ranking]:
        """Rankings of inputs drawn with replacement, clean and anomalous ones apart.

        Args:
            draws: how many there are in all.
            seed: of the draws.

        Yields:
            Several draws at a time, as many as fit into bounded memory.
        """
        rng = np.random.default_rng(seed)
        at_once = max(1, NUMBERS_AT_ONCE // self.clean.shape[-1])
        for start in range(0, draws, at_once):
            size = min(at_once, draws - start)
            yield Ranking(redrawn(self.clean, size, rng), redrawn(self.anomalous, size, rng))


Metric = Callable[[Ranking], Float[np.ndarray, "draws"]]


def reaching(counts: Int[np.ndarray, "draws k"]) -> Int[np.ndarray, "draws k+1"]:
    """The counts of inputs at each threshold or a higher one, after a 0 for a higher one yet."""
    return np.concatenate([np.zeros_like(counts[..., :1]), counts.cumsum(-1)], axis=-1)


def redrawn(
    reached: Int[np.ndarray, "1 k"], size: int, rng: np.random.Generator
) -> Int[np.ndarray, "draws k"]:
    """As many inputs of the same scores, drawn with replacement, `size` times."""
    n = reached[0, -1]
    return reaching(rng.multinomial(n, np.diff(reached[0]) / n, size))


def area_under_roc(ranking: Ranking) -> Float[np.ndarray, "draws"]:
    """The probability that an anomaly scores above a clean input, ties counting half."""
    clean, anomalous = ranking.clean, ranking.anomalous
    found = anomalous[..., 1:] + anomalous[..., :-1]
    pairs = clean[..., -1] * anomalous[..., -1]
    return (np.diff(clean) * found).sum(-1) / (2 * pairs)


def mean_precision(ranking: Ranking) -> Float[np.ndarray, "draws"]:
    """Average precision: the mean precision at the scores of the anomalies (area under PR)."""
    found = ranking.anomalous[..., 1:]
    reached = np.maximum(found + ranking.clean[..., 1:], 1)
    return (np.diff(ranking.anomalous) * (found / reached)).sum(-1) / found[..., -1]


def tpr_at(fpr: float) -> Metric:
    """The largest share of anomalies found at any threshold that `fpr` of clean inputs reach."""

    def metric(ranking: Ranking) -> Float[np.ndarray, "draws"]:
        clean, anomalous = ranking.clean, ranking.anomalous
        allowed = clean <= (fpr + ROUNDING) * clean[..., -1:]
        return np.where(allowed, anomalous, 0).max(-1) / anomalous[..., -1]

    return metric


def fpr_at(tpr: float) -> Metric:
    """The smallest share of clean inputs at any threshold that finds `tpr` of anomalies."""

    def metric(ranking: Ranking) -> Float[np.ndarray, "draws"]:
        clean, anomalous = ranking.clean, ranking.anomalous
        enough = anomalous >= (tpr - ROUNDING) * anomalous[..., -1:]
        return np.where(enough, clean, clean[..., -1:]).min(-1) / clean[..., -1]

    return metric


def auroc(clean: Float[np.ndarray, "n"], anomalous: Float[np.ndarray, "m"]) -> float:
    """`area_under_roc` of scores."""
    return area_under_roc(Ranking.of(clean, anomalous)).item()


def average_precision(clean: Float[np.ndarray, "n"], anomalous: Float[np.ndarray, "m"]) -> float:
    """`mean_precision` of scores; it falls with the share of anomalies among the inputs."""
    return mean_precision(Ranking.of(clean, anomalous)).item()


def tpr_at_fpr(
    clean: Float[np.ndarray, "n"], anomalous: Float[np.ndarray, "m"], fpr: float
) -> float:
    """`tpr_at` of scores."""
    return tpr_at(fpr)(Ranking.of(clean, anomalous)).item()


def fpr_at_tpr(
    clean: Float[np.ndarray, "n"], anomalous: Float[np.ndarray, "m"], tpr: float
) -> float:
    """`fpr_at` of scores."""
    return fpr_at(tpr)(Ranking.of(clean, anomalous)).item()


@dataclass(frozen=True)
class Estimate:
    """A metric, and the bounds of its bootstrap interval."""

    value: float
    low: float
    high: float


def estimates(
    clean: Float[np.ndarray, "n"],
    anomalous: Float[np.ndarray, "m"],
    metrics: Mapping[str, Metric],
    *,
    draws: int = DRAWS,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Metrics with stratified percentile bootstrap intervals (Efron and Tibshirani 1993, ch. 13).

    Clean and anomalous inputs are drawn apart, as many of each as there are. Where no draw could
    come out differently, as with scores that separate the two fully, the interval is one point,
    which overstates what is known.

    Args:
        clean: the scores of clean inputs, without NaN.
        anomalous: the scores of anomalous inputs, without NaN.
        metrics: what to estimate, by name.
        draws: how many bootstrap draws there are.
        confidence: the share of draws within the interval.
        seed: of the draws.
    """
    ranking = Ranking.of(clean, anomalous)
    drawn = [
        {name: metric(part) for name, metric in metrics.items()}
        for part in ranking.resampled(draws, seed)
    ]
    tail = (1 - confidence) / 2
    found: dict[str, Estimate] = {}
    for name, metric in metrics.items():
        low, high = np.quantile(np.concatenate([part[name] for part in drawn]), [tail, 1 - tail])
        found[name] = Estimate(metric(ranking).item(), float(low), float(high))
    return found


def usual_alarms(
    calibration: Calibration,
    prediction: Int[np.ndarray, "n"],
    alpha: float,
    confidence: float = CONFIDENCE,
) -> tuple[int, int]:
    """How few and how many of n clean inputs chance flags at alpha, in the middle of cases.

    Calibrated per class, it is the sum of the classes' (`alarm_laws`), taken as independent; of the
    small classes, which may have none, no more than all inputs would have.

    Args:
        calibration: what the p-values rest on.
        prediction: what the network predicts for the clean inputs.
        alpha: the share of false alarms that is flagged for, between 0 and 1.
        confidence: the probability that is in between, at least.
    """
    fewest, most = np.ones(1), np.ones(1)
    for rows, law in alarm_laws(calibration, prediction, alpha):
        n = law[0]
        weights = betabinom.pmf(np.arange(n + 1), *law)
        most = np.convolve(most, weights)
        if n in (0, int(rows.sum())):
            fewest = np.convolve(fewest, weights)
    tail = (1 - confidence) / 2
    return int((fewest.cumsum() < tail).sum()), int((most.cumsum() < 1 - tail).sum())


def alarm_laws(
    calibration: Calibration, prediction: Int[np.ndarray, "n"], alpha: float
) -> Iterator[tuple[Bool[np.ndarray, "n"], tuple[int, int, int]]]:
    """Which clean inputs' p-values rest on the same scores, and a law of how many are flagged.

    It is `alarm_law` of as many inputs, but for the small classes among others
    (`mad.calibration.PerClass`): these are not exchangeable with the calibration, so that nothing
    is known but that they are flagged no more often than all inputs on all scores, whose law it is.
    """
    exchangeable = calibration.exchangeable(prediction)
    for rows, scores in calibration.groups(prediction):
        n = int(rows.sum()) if exchangeable[rows].all() else len(prediction)
        yield rows, alarm_law(n, len(scores), alpha)


def alarm_law(n: int, m: int, alpha: float) -> tuple[int, int, int]:
    """The law of how many are flagged at alpha, of n inputs exchangeable with m calibration inputs.

    Binomial, at a share that is itself the calibration's chance.

    Returns:
        The parameters of the beta-binomial distribution: n, l and m + 1 - l, where l = floor(alpha
        (m + 1)); where that is 0, those of none of none.

    Raises:
        InputError: alpha is 1.
    """
    flagged = attainable(m, alpha)
    if flagged > m:
        raise InputError(f"at alpha {alpha:g} every input is flagged, whatever it is")
    return (n, flagged, m + 1 - flagged) if flagged else (0, 1, 1)
