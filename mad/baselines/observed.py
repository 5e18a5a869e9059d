"""What the baselines may look at: everything but a decomposition."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from mad.errors import InputError
from mad.predicted import Predicted


@dataclass(frozen=True, eq=False)
class Observed:
    """How a network treated n inputs, in the precision it computes in.

    Attributes:
        inputs: the inputs, flattened.
        outputs: the logits.
        prediction: the output that each input is about, as a rule that of the largest logit.
        activations: every hidden layer after its nonlinearity, flattened, first to last.
        input_gradient: the gradient of the predicted logit with respect to the input.
        neuron_effects: like `activations`, each times the gradient of the predicted logit there.

    Raises:
        InputError: there are no inputs or no hidden layers, rows or layers disagree, a number is
            not finite, or a prediction is not the index of an output.
    """

    inputs: Float[np.ndarray, "n p"]
    outputs: Float[np.ndarray, "n d"]
    prediction: Int[np.ndarray, "n"]
    activations: tuple[Float[np.ndarray, "n _"], ...]
    input_gradient: Float[np.ndarray, "n p"]
    neuron_effects: tuple[Float[np.ndarray, "n _"], ...]

    def __post_init__(self) -> None:
        layers = (*self.activations, *self.neuron_effects)
        matrices = (self.inputs, self.outputs, self.input_gradient, *layers)
        n, classes = self.outputs.shape
        if n == 0:
            raise InputError("there are no inputs")
        if len(self.activations) == 0:
            raise InputError("there are no hidden layers")
        if any(len(rows) != n for rows in (self.prediction, *matrices)):
            raise InputError("what was observed is not of the same number of inputs throughout")
        if self.inputs.shape != self.input_gradient.shape:
            raise InputError("inputs and their gradients are not of the same shape")
        if [h.shape for h in self.activations] != [h.shape for h in self.neuron_effects]:
            raise InputError("neuron effects and activations are not of the same layers")
        if not all(np.isfinite(rows).all() for rows in matrices):
            raise InputError("what was observed holds NaN or infinity")
        if self.prediction.dtype.kind not in "iu":
            raise InputError("the predictions are not whole numbers")
        if self.prediction.min() < 0 or self.prediction.max() >= classes:
            raise InputError(f"a prediction is not the index of one of {classes} outputs")

    @cached_property
    def predicted(self) -> Predicted:
        """The predictions, and how sure the network is."""
        return Predicted.of(self.outputs, self.prediction)
