"""The Gaussian code of vectors of one group that may be very long, as a network's outputs are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from mad.codes.spread import LOG2_E, folds, own_scales, varying
from mad.codes.widest import widest

MOST_DIRECTIONS = 64


@dataclass(frozen=True, eq=False)
class WideCode:
    """One mean, and a covariance that is isotropic but in its `MOST_DIRECTIONS` widest directions.

    What it costs grows with D, not D^2. Where D exceeds the directions kept, the others' variances,
    in units of the coordinates' scales, are replaced by their mean (probabilistic principal
    components, Tipping and Bishop 1999); where it does not, this is the full code.

    With variances v_r along orthonormal directions q_r and t along all others, the precision is
    1/t - sum_r (1/t - 1/v_r) q_r q_r^T.

    Attributes:
        mean: the overall mean.
        outside: 1/t per coordinate, over its squared scale.
        directions: sqrt(1/t - 1/v_r) q_r, over the coordinates' scales.
        typical: the median code length of rows the code was not fitted on (5-fold).
    """

    mean: Float[np.ndarray, "D"]
    outside: Float[np.ndarray, "D"]
    directions: Float[np.ndarray, "D r"]
    typical: Float[np.ndarray, ""]

    @classmethod
    def fit(cls, z: Float[np.ndarray, "n D"], smallest: float) -> WideCode:
        """Fit the code to reference vectors, and its typical length to held-out folds of them.

        Args:
            z: the vectors.
            smallest: by what every coordinate is taken to vary at least.
        """
        lengths = [cls._of(z[rows], smallest).lengths(z[others]) for rows, others in folds(len(z))]
        typical = np.asarray(np.median(np.concatenate(lengths)))
        return replace(cls._of(z, smallest), typical=typical)

    @classmethod
    def _of(cls, z: Float[np.ndarray, "n D"], smallest: float) -> WideCode:
        mean = z.mean(0)
        apart = varying(z - mean, z)
        scale, lacking = own_scales(apart, smallest=smallest)
        vectors, variances, others = widest(apart / scale, lacking, MOST_DIRECTIONS)
        less = np.maximum(1 / others - 1 / variances, 0)
        directions = vectors * np.sqrt(less) / scale[:, None]
        return cls(mean, 1 / others / scale**2, directions, np.zeros(()))

    def lengths(self, z: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n"]:
        """Code lengths in bits, up to a constant."""
        deviation = z - self.mean
        inside = np.square(deviation @ self.directions).sum(1)
        return 0.5 * LOG2_E * (np.square(deviation, out=deviation) @ self.outside - inside)

    def bits(self, z: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n"]:
        """|code length - typical code length|, in bits."""
        return np.abs(self.lengths(z) - self.typical)
