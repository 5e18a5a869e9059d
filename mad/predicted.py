"""What a network predicted, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True, eq=False)
class Predicted:
    """The predictions for n inputs.

    Attributes:
        label: the index of the output that each input is about, as a rule the largest.
        confidence: the largest softmax probability of its outputs, read as logits; 1 of a single
            output.
        classes: how many outputs there are.
    """

    label: Int[np.ndarray, "n"]
    confidence: Float[np.ndarray, "n"]
    classes: int

    @classmethod
    def of(cls, outputs: Float[np.ndarray, "n K"], label: Int[np.ndarray, "n"]) -> Predicted:
        """The predictions that come with some outputs."""
        z = outputs.astype(np.float64)
        z -= z.max(1, keepdims=True)
        return cls(label, 1 / np.exp(z, out=z).sum(1), outputs.shape[1])

    @classmethod
    def certain(cls, label: Int[np.ndarray, "n"], classes: int) -> Predicted:
        """Predictions of full confidence."""
        return cls(label, np.ones(len(label)), classes)

    @classmethod
    def alike(cls, n: int) -> Predicted:
        """All of one class, and certain."""
        return cls.certain(np.zeros(n, dtype=np.int64), 1)

    def rows(self, chosen: Int[np.ndarray, "some"] | Bool[np.ndarray, "n"]) -> Predicted:
        """Those of some of the inputs."""
        return Predicted(self.label[chosen], self.confidence[chosen], self.classes)
