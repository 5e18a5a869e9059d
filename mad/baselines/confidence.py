"""Maximum softmax probability: how sure the network is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mad.baselines.baseline import Baseline
from mad.baselines.observed import Observed


@dataclass(frozen=True)
class Confidence(Baseline):
    """-log of the largest softmax probability (Hendrycks and Gimpel 2017, arXiv 1610.02136).

    With z_k the largest logit, log (1 + sum_{j != k} exp(z_j - z_k)), which orders inputs that are
    all but certain, too. High where the network is unsure. Of a single output it is always 0.
    """

    @classmethod
    def fit(cls, seen: Observed) -> Confidence:
        """The reference plays no part."""
        return cls()

    def score(self, seen: Observed) -> Float[np.ndarray, "n"]:
        """Surprise at the likeliest class, in nats."""
        z = np.sort(seen.outputs.astype(np.float64), axis=1)
        return np.log1p(np.exp(z[:, :-1] - z[:, -1:]).sum(1))
