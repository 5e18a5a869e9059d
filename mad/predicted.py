"""What a network predicted, and how sure of it it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import softmax


@dataclass(frozen=True)
class Predicted:
    """The predictions for n inputs.

    Attributes:
        label: the index of the output that each input is about, as a rule the largest.
        confidence: the largest softmax probability of its outputs, 1 where there is one output.
        classes: how many outputs there are.
    """

    label: Int[np.ndarray, "n"]
    confidence: Float[np.ndarray, "n"]
    classes: int

    @classmethod
    def of(cls, outputs: Float[np.ndarray, "n K"], label: Int[np.ndarray, "n"]) -> Predicted:
        """The predictions that come with some outputs."""
        confidence = softmax(outputs.astype(np.float64), axis=1).max(1)
        return cls(label, confidence, outputs.shape[1])

    @classmethod
    def alike(cls, n: int) -> Predicted:
        """All of one class, and certain."""
        return cls(np.zeros(n, dtype=np.int64), np.ones(n), 1)

    def rows(self, chosen: Int[np.ndarray, "some"] | Bool[np.ndarray, "n"]) -> Predicted:
        """Those of some of the inputs."""
        return Predicted(self.label[chosen], self.confidence[chosen], self.classes)
