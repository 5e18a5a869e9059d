"""Topological evolution: how near each layer puts an input to the class it ends up in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist

from mad.baselines.baseline import Baseline, refuse_few
from mad.baselines.blocks import rows_at_once
from mad.baselines.mahalanobis import Mahalanobis
from mad.baselines.observed import Observed
from mad.predicted import Predicted


@dataclass(frozen=True, eq=False)
class Ted(Baseline):
    """Mahalanobis distance of an input's ranks, one per layer, from the reference's.

    After topological evolution dynamics (Mo et al. 2024, arXiv 2312.02673), whose outlier detector
    is a principal component analysis. The rank in a layer is the number of reference inputs nearer
    than the nearest of the predicted class; where the reference has none of that class, the number
    of all reference inputs. A reference input is not compared with itself. The inputs count as the
    first layer and the outputs as the last: a trigger that the first hidden layer already answers
    to leaves no trace later.

    Attributes:
        layers: the reference's inputs, activations and outputs.
        prediction: what the network predicted for the reference.
        usual: the Gaussian of the reference's ranks.
    """

    layers: tuple[Float[np.ndarray, "N _"], ...]
    prediction: Int[np.ndarray, "N"]
    usual: Mahalanobis

    @classmethod
    def fit(cls, seen: Observed) -> Ted:
        """Rank the reference inputs among each other.

        Raises:
            ReferenceError: there are too few of them.
        """
        refuse_few(seen)
        layers, own = all_of(seen), seen.prediction
        ranks = np.stack([ranks_of_class(partial(others, h), own, own) for h in layers], 1)
        return cls(layers, own, Mahalanobis.fit(ranks, Predicted.alike(len(ranks))))

    def score(self, seen: Observed) -> Float[np.ndarray, "n"]:
        """Squared distances, higher = more anomalous."""
        pairs = zip(all_of(seen), self.layers, strict=True)
        ranks = [
            ranks_of_class(partial(between, *pair), seen.prediction, self.prediction)
            for pair in pairs
        ]
        return self.usual.score(np.stack(ranks, 1), Predicted.alike(len(seen.prediction)))


def all_of(seen: Observed) -> tuple[Float[np.ndarray, "n _"], ...]:
    """Inputs, activations and outputs, in float64."""
    layers = (seen.inputs, *seen.activations, seen.outputs)
    return tuple(layer.astype(np.float64) for layer in layers)


def between(
    layer: Float[np.ndarray, "n d"], reference: Float[np.ndarray, "N d"], rows: slice
) -> Float[np.ndarray, "rows N"]:
    """The distances of some inputs from the reference."""
    return cdist(layer[rows], reference)


def others(layer: Float[np.ndarray, "N d"], rows: slice) -> Float[np.ndarray, "rows N"]:
    """The distances of some reference inputs from all; none is near itself."""
    distances = cdist(layer[rows], layer)
    distances[np.arange(len(distances)), np.arange(rows.start, rows.stop)] = np.inf
    return distances


def ranks_of_class(
    distances: Callable[[slice], Float[np.ndarray, "rows N"]],
    prediction: Int[np.ndarray, "n"],
    of_reference: Int[np.ndarray, "N"],
) -> Float[np.ndarray, "n"]:
    """How many reference inputs are nearer than the nearest of the predicted class, in one layer.

    Args:
        distances: of some inputs from every reference input.
        prediction: of the inputs.
        of_reference: of the reference.
    """
    ranks: list[Int[np.ndarray, "rows"]] = []
    for rows in rows_at_once(len(prediction), len(of_reference)):
        layer, same = distances(rows), prediction[rows, None] == of_reference
        nearest = layer.min(1, where=same, initial=np.inf, keepdims=True)
        ranks.append((layer < nearest).sum(1))
    return np.concatenate(ranks).astype(np.float64)
