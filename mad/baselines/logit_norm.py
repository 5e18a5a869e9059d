"""Logit norm: outputs that are larger or smaller than usual."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mad.baselines.baseline import Baseline
from mad.baselines.observed import Observed


@dataclass(frozen=True)
class LogitNorm(Baseline):
    """Distance of the logits' Euclidean norm from the reference's median norm, in either direction.

    Attributes:
        typical: the median norm.
    """

    typical: float

    @classmethod
    def fit(cls, seen: Observed) -> LogitNorm:
        """Remember the median norm."""
        return cls(float(np.median(norms(seen))))

    def score(self, seen: Observed) -> Float[np.ndarray, "n"]:
        """|norm - median norm|."""
        return np.abs(norms(seen) - self.typical)


def norms(seen: Observed) -> Float[np.ndarray, "n"]:
    """The Euclidean norm of every input's logits."""
    return np.linalg.norm(seen.outputs.astype(np.float64), axis=1)
