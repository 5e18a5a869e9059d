"""What every baseline is: fitted to what was seen of the reference, then a score of anyone's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mad.baselines.features import Features
from mad.baselines.observed import Observed
from mad.errors import ReferenceError
from mad.predicted import Predicted

FEWEST_INPUTS = 10


class Baseline(ABC):
    """A fitted baseline; its score of an input is a function of that input alone."""

    @abstractmethod
    def score(self, seen: Observed) -> Float[np.ndarray, "n"]:
        """How anomalous every input is, higher = more."""


class Statistic(ABC):
    """A fitted statistic of any feature matrix, given what the network predicted."""

    @abstractmethod
    def score(
        self, features: Float[np.ndarray, "n D"], predicted: Predicted
    ) -> Float[np.ndarray, "n"]:
        """How anomalous every row is, higher = more."""


FitBaseline = Callable[[Observed], Baseline]
FitStatistic = Callable[[Float[np.ndarray, "n D"], Predicted], Statistic]


@dataclass(frozen=True)
class OfFeatures(Baseline):
    """A statistic of chosen features."""

    features: Features
    statistic: Statistic

    @classmethod
    def fit(cls, features: Features, fit: FitStatistic, seen: Observed) -> OfFeatures:
        """Fit the statistic to the reference's features.

        Args:
            features: what the statistic is about.
            fit: fits a statistic to features and predictions.
            seen: what was seen of the reference.

        Raises:
            ReferenceError: the reference has fewer than `FEWEST_INPUTS` inputs.
        """
        refuse_few(seen)
        statistic = fit(features(seen), seen.predicted)
        return cls(features, statistic)

    def score(self, seen: Observed) -> Float[np.ndarray, "n"]:
        """The statistic of every input."""
        return self.statistic.score(self.features(seen), seen.predicted)


def refuse_few(seen: Observed) -> None:
    """Refuse a reference that nothing can be learnt from."""
    if len(seen.outputs) < FEWEST_INPUTS:
        raise ReferenceError(f"a baseline needs at least {FEWEST_INPUTS} reference inputs")
