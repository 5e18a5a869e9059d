"""The Gaussian code of vectors, given a prediction: how untypical one is of its own class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isqrt

import numpy as np
from jaxtyping import Float, Int

from mad.codes.spread import LOG2_E, Scales, Spread, deviations, folds, own_scales
from mad.predicted import Predicted

OWN_SHARES = (0.0, 0.25, 0.5, 0.75, 0.9)
FEWEST_ROWS = 25
MOST_NUMBERS = 2**22


def large_classes(predicted: Predicted) -> Int[np.ndarray, "large"]:
    """The classes of enough rows for a covariance of their own."""
    counts = np.bincount(predicted.label, minlength=predicted.classes)
    return np.flatnonzero(counts >= FEWEST_ROWS)


def most_coordinates(predicted: Predicted) -> int:
    """Of how many coordinates every large class may have a covariance of its own."""
    return isqrt(MOST_NUMBERS // (1 + len(large_classes(predicted))))


@dataclass(frozen=True, eq=False)
class GaussianCode:
    """One mean per class, and a covariance that is partly the class's own.

    An input counts as one of its class as far as the network is sure: deviations from the mean are
    times the root of its confidence, and rows have it for weights. What a network hesitates about
    varies more, and would hide what is odd about the rest. What the wider unit itself would add to
    a code length is left out, so that lengths compare whatever the confidence.

    A class with `FEWEST_ROWS` rows or more has the covariance (1 - own) S + own S_k, where S is
    that of all rows' deviations and S_k that of its own rows', both shrunk; the others have S
    (regularised discriminant analysis, Friedman 1989). Of the shares it may have it is the one
    under which rows that the code was not fitted on are the shortest.

    Attributes:
        means: the mean of every class; a class of n rows borrows from the overall mean as from one
            further row of average confidence.
        kind: which of the covariances every class has; 0 is S.
        precision: their inverses.
        variance: of every coordinate by itself, the diagonals of the covariances.
        volume: (1/2) log2 of their determinants over that of S.
        typical: the median code length of every class's rows that the code was not fitted on
            (5-fold); of all such rows for classes of fewer than `FEWEST_ROWS`.
    """

    means: Float[np.ndarray, "K D"]
    kind: Int[np.ndarray, "K"]
    precision: Float[np.ndarray, "G D D"]
    variance: Float[np.ndarray, "G D"]
    volume: Float[np.ndarray, "G"]
    typical: Float[np.ndarray, "K"]

    @classmethod
    def fit(
        cls,
        z: Float[np.ndarray, "n D"],
        predicted: Predicted,
        scales: Scales = own_scales,
        own_shares: Sequence[float] = OWN_SHARES,
    ) -> GaussianCode:
        """Fit the code to reference vectors, its own share and typical lengths to held-out ones.

        Args:
            z: the vectors.
            predicted: what was predicted for each.
            scales: the units of the coordinates, in which covariances are shrunk to alike ones.
            own_shares: what `own` may be.
        """
        label, classes, large = predicted.label, predicted.classes, large_classes(predicted)
        own_ones = large if (1 + len(large)) * z.shape[1] ** 2 <= MOST_NUMBERS else large[:0]
        shares = own_shares if len(own_ones) else own_shares[:1]
        held_out = {own: np.empty(len(z)) for own in shares}
        for rows, others in folds(len(z)):
            spread = Spread.of(z[rows], predicted.rows(rows), own_ones, scales)
            for own, lengths in held_out.items():
                code = cls._of(spread, own)
                lengths[others] = code.lengths(z[others], predicted.rows(others))[0]
        own = min(shares, key=lambda share: held_out[share].mean())
        code = cls._of(Spread.of(z, predicted, own_ones, scales), own)
        typical = np.full(classes, np.median(held_out[own]))
        for k in large:
            typical[k] = np.median(held_out[own][label == k])
        return replace(code, typical=typical)

    @classmethod
    def _of(cls, spread: Spread, own: float) -> GaussianCode:
        """The code with that share; one covariance serves all where it is nobody's own."""
        shared, kind = spread.covariance[:1], spread.kind
        covariance = (1 - own) * shared + own * spread.covariance if own else shared
        precision = np.linalg.inv(covariance) / np.outer(spread.scale, spread.scale)
        variance = covariance.diagonal(axis1=1, axis2=2) * spread.scale**2
        volume = 0.5 * LOG2_E * np.linalg.slogdet(covariance)[1]
        volume -= volume[0]
        untyped = np.zeros(len(kind))
        return cls(spread.means, kind if own else 0 * kind, precision, variance, volume, untyped)

    def lengths(
        self, z: Float[np.ndarray, "n D"], predicted: Predicted
    ) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n D"]]:
        """Code lengths in bits, up to a constant, and by how much each coordinate lengthens them.

        A coordinate's bits are (1/2) log2(e) max(0, deviation_j)^2 / variance_j: what it costs by
        itself to be above its class's mean.

        Args:
            z: vectors.
            predicted: what was predicted for each.
        """
        deviation, kind = deviations(z, self.means, predicted), self.kind[predicted.label]
        u = np.empty_like(deviation)
        for k in np.unique(kind):
            np.copyto(u, deviation @ self.precision[k], where=(kind == k)[:, None])
        square = np.einsum("nd,nd->n", u, deviation)
        above = np.square(deviation.clip(min=0, out=deviation), out=deviation)
        above *= (0.5 * LOG2_E / self.variance)[kind]
        return 0.5 * LOG2_E * square + self.volume[kind], above

    def bits(
        self, z: Float[np.ndarray, "n D"], predicted: Predicted
    ) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n D"]]:
        """|code length - typical length|, and what each coordinate costs by itself, `lengths`."""
        lengths, of_coordinates = self.lengths(z, predicted)
        return np.abs(lengths - self.typical[predicted.label]), of_coordinates
