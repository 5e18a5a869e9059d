"""What a statistic can be taken of: one matrix of numbers per input, in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from mad.baselines.observed import Observed

Features = Callable[[Observed], Float[np.ndarray, "n D"]]


def first_layer(seen: Observed) -> Float[np.ndarray, "n D"]:
    """Activations of the first hidden layer."""
    return seen.activations[0].astype(np.float64)


def last_layer(seen: Observed) -> Float[np.ndarray, "n D"]:
    """Activations of the last hidden layer."""
    return seen.activations[-1].astype(np.float64)


def all_layers(seen: Observed) -> Float[np.ndarray, "n D"]:
    """Activations of all hidden layers side by side."""
    return np.concatenate(seen.activations, axis=1, dtype=np.float64)


def inputs(seen: Observed) -> Float[np.ndarray, "n p"]:
    """The inputs themselves."""
    return seen.inputs.astype(np.float64)


def input_effects(seen: Observed) -> Float[np.ndarray, "n p"]:
    """Gradient times input: what each input contributes to the predicted logit, to first order."""
    return seen.input_gradient.astype(np.float64) * seen.inputs


def neuron_effects(seen: Observed) -> Float[np.ndarray, "n D"]:
    """Gradient times activation of all hidden layers side by side."""
    return np.concatenate(seen.neuron_effects, axis=1, dtype=np.float64)
