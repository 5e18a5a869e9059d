"""What every score is: fitted to the reference's evidence, then bits for anyone's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mad.evidence import Evidence


class Bits(NamedTuple):
    """One term of the account of n inputs; higher = more anomalous.

    Attributes:
        total: the score of every input.
        by_component: what it costs that each component does what it does, None where the score is
            not about components. They need not add up to the total.
    """

    total: Float[np.ndarray, "n"]
    by_component: Float[np.ndarray, "n C"] | None = None


class Score(ABC):
    """One term of the account, in bits.

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
    def bits(self, evidence: Evidence) -> Bits:
        """The bits of every input, and of every component where the score is about them."""
