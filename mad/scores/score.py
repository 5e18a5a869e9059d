"""What every score is: fitted to the reference's evidence, then bits for anyone's."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from jaxtyping import Float

from mad.evidence import Evidence


class Score(ABC):
    """One term of the account, in bits; higher = more anomalous.

    A score is a frozen dataclass of arrays (or of such dataclasses), so that it can be saved. Its
    bits for an input depend on the fitted arrays and that input's evidence alone.
    """

    @classmethod
    @abstractmethod
    def fit(cls, reference: Evidence, ranks: Float[np.ndarray, "C"]) -> Score:
        """Learn what is usual.

        Args:
            reference: the evidence of the reference's profile part.
            ranks: the rank of every component, summed over sites.
        """

    @abstractmethod
    def bits(self, evidence: Evidence) -> Float[np.ndarray, "n"]:
        """The score of every input."""

    def component_bits(self, evidence: Evidence) -> Float[np.ndarray, "n C"]:
        """How much of the score each component answers for; zero where the score is not theirs."""
        return np.zeros(evidence.active.shape)
