"""The detector as pytorch-ood has them: `fit(loader)`, then `predict(x)`, high = anomalous.

It is no subclass, so pytorch-ood (which needs torchvision) need not be installed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from mad.adapters.fitted import Fitted, as_tensor
from mad.checks import as_array


class MechanisticDetector(Fitted):
    """Outliers by how untypical the way is in which a network treats them.

    `Fitted` says what it holds; it asks for the decomposed network where other detectors ask for
    a model. What they call features are the inputs here, which only the network can make sense of.
    """

    requires_fit: ClassVar[bool] = True

    def __call__(self, x: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n"]:
        """`predict`."""
        return self.predict(x)

    def fit(self, data_loader: Iterable[Any], device: object = None) -> MechanisticDetector:
        """Profile and calibrate on the trusted inputs of a loader, all in memory.

        Args:
            data_loader: batches of inputs and labels; those labelled below 0 are left out, and
                so are inputs that were decomposed on, in any order (`mad.Detector.fit`).
            device: plays no part; the network stays where it is.

        Raises:
            ReferenceError: too few rows are left, or some are not finite.
            InputError: they do not have the decomposition's shape, or a setting is none.
        """
        self.fit_parts(as_array(x[y >= 0]) for x, y in data_loader)
        return self

    def fit_features(
        self, x: Shaped[Tensor, "n ..."], y: Int[Tensor, "n"] | None = None
    ) -> MechanisticDetector:
        """`fit` on inputs that are at hand; labels play no part."""
        self.fit_parts([as_array(x)])
        return self

    def predict(self, x: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n"]:
        """The bits of every input: high = anomalous; NaN where the input is not finite.

        Raises:
            ReferenceError: nothing has been fitted yet.
            InputError: the inputs do not have the shape of the reference's.
        """
        return as_tensor(self.scored(x).bits, beside=x)

    def predict_features(self, x: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n"]:
        """`predict`."""
        return self.predict(x)


def between_0_and_1(bits: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Bits in the same order, between 0 and 1: 1/2 + arctan(bits) / pi.

    For `OODMetrics`, whose torchmetrics put scores outside of [0, 1] through a logistic function,
    which makes all large ones equal.
    """
    return 0.5 + bits.atan() / np.pi
