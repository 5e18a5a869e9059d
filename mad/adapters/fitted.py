"""What detectors of PyTorch harnesses share: fitted on tensors, they score tensors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mad.calibration import name_of
from mad.checks import as_array
from mad.decomposition import Decomposition
from mad.detector import Detector
from mad.errors import ReferenceError
from mad.result import Result

F = TypeVar("F", bound="Fitted")


@dataclass
class Fitted:
    """A detector that is there once it has been fitted, or from the beginning.

    Attributes:
        decomposition: the decomposed network.
        explain: which output to explain: "predicted", "all" or an index.
        calibration: "pooled" or "per-class"; see `mad.Detector.fit`.
        seed: fixes which rows profile and which calibrate.
        detector: the fitted `mad.Detector`; None before it is.
    """

    decomposition: Decomposition
    explain: str | int = "predicted"
    calibration: str = "pooled"
    seed: int = 0
    detector: Detector | None = None

    @classmethod
    def of(cls: type[F], detector: Detector) -> F:
        """One that is fitted already, such as `mad.load` reads."""
        kind = name_of(detector.calibration)
        return cls(detector.decomposition, detector.explains, kind, detector=detector)

    def fit_parts(self, parts: Iterable[NDArray[Any]]) -> None:
        """Profile and calibrate on trusted inputs, in the shape the network takes.

        Args:
            parts: several inputs each, which are put together.

        Raises:
            ReferenceError: too few rows are left, or some are not finite.
            InputError: they do not have the decomposition's shape, or a setting is none.
        """
        every = list(parts)
        if not any(map(len, every)):
            raise ReferenceError("there are no trusted inputs to fit the detector to")
        self.detector = Detector.fit(
            self.decomposition,
            np.concatenate(every),
            explain=self.explain,
            calibration=self.calibration,
            seed=self.seed,
        )

    def scored(self, x: Tensor) -> Result:
        """What `mad.Detector.score` says of a batch, on whatever device.

        Raises:
            ReferenceError: nothing has been fitted yet.
            InputError: the inputs do not have the shape of the reference's.
        """
        if self.detector is None:
            raise ReferenceError("the detector has no reference yet; fit it to trusted inputs")
        return self.detector.score(as_array(x))


def as_tensor(bits: NDArray[Any], beside: Tensor) -> Tensor:
    """Bits as a tensor in float64, on the device of another."""
    return torch.from_numpy(np.ascontiguousarray(bits)).to(beside.device)
