"""Topological evolution: how near each layer puts an input to the class it ends up in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist

from mad.baselines.baseline import Baseline, refuse_few
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
        layers = all_of(seen)
        ranks = ranks_of_class(map(among_themselves, layers), seen.prediction, seen.prediction)
        return cls(layers, seen.prediction, Mahalanobis.fit(ranks, Predicted.alike(len(ranks))))

    def score(self, seen: Observed) -> Float[np.ndarray, "n"]:
        """Squared distances, higher = more anomalous."""
        distances = (cdist(*pair) for pair in zip(all_of(seen), self.layers, strict=True))
        ranks = ranks_of_class(distances, seen.prediction, self.prediction)
        return self.usual.score(ranks, Predicted.alike(len(ranks)))


def all_of(seen: Observed) -> tuple[Float[np.ndarray, "n _"], ...]:
    """Inputs, activations and outputs, in float64."""
    layers = (seen.inputs, *seen.activations, seen.outputs)
    return tuple(layer.astype(np.float64) for layer in layers)


def among_themselves(layer: Float[np.ndarray, "N d"]) -> Float[np.ndarray, "N N"]:
    """The distances of inputs from one another; none is near itself."""
    distances = cdist(layer, layer)
    np.fill_diagonal(distances, np.inf)
    return distances


def ranks_of_class(
    distances: Iterable[Float[np.ndarray, "n N"]],
    prediction: Int[np.ndarray, "n"],
    of_reference: Int[np.ndarray, "N"],
) -> Float[np.ndarray, "n L"]:
    """How many reference inputs are nearer than the nearest of the predicted class, per layer.

    The distances of one layer are in memory at a time, where they come so.
    """
    same = prediction[:, None] == of_reference
    ranks: list[Int[np.ndarray, "n"]] = []
    for layer in distances:
        nearest = np.where(same, layer, np.inf).min(1, keepdims=True)
        ranks.append((layer < nearest).sum(1))
    return np.stack(ranks, 1).astype(np.float64)
