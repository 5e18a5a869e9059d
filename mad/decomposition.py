"""What mad asks of a decomposed network; `apd.Run` answers it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped


@runtime_checkable
class Decomposition(Protocol):
    """A network whose weights are a sum of components and a residual.

    Every row's answer is a function of that row alone (up to rounding, which may depend on the
    shape of the batch), in whatever precision the network computes.
    """

    @property
    def active(self) -> float:
        """Components an input uses on average."""
        ...

    @property
    def ranks(self) -> Float[np.ndarray, "C"]:
        """Rank of every component summed over sites, 0 for a dead one."""
        ...

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        ...

    @property
    def rows_at_once(self) -> int:
        """How many inputs it is best asked about at a time, always the same number."""
        ...

    @property
    def fingerprint(self) -> str:
        """What a saved detector must find again to be used with a decomposition."""
        ...

    def unseen_rows(self, reference: Shaped[np.ndarray, "n *shape"]) -> Int[np.ndarray, "unseen"]:
        """The rows of a reference that the components were not trained on."""
        ...

    def explain(
        self, x: Shaped[np.ndarray, "n *shape"], output: str | int
    ) -> tuple[
        Float[np.ndarray, "n d"],
        Float[np.ndarray, "n C"],
        Float[np.ndarray, "n C"],
        Float[np.ndarray, "n p"],
    ]:
        """Outputs, attributions, strengths and input effects.

        Components are active by their strengths, which do not depend on the output explained. The
        input effects are what came in through each coordinate of an input, in units of the
        explained output.
        """
        ...

    def masked_outputs(
        self, x: Shaped[np.ndarray, "n *shape"], mask: Bool[np.ndarray, "n C"]
    ) -> Float[np.ndarray, "n d"]:
        """The outputs when each input is run on the components its mask names alone."""
        ...

    def outputs_on(
        self, x: Shaped[np.ndarray, "n *shape"], components: Sequence[int]
    ) -> Float[np.ndarray, "n d"]:
        """The outputs on some components, or none, the same for all inputs; nothing else stays."""
        ...

    def outputs_without(
        self, x: Shaped[np.ndarray, "n *shape"], components: Sequence[int]
    ) -> Float[np.ndarray, "n d"]:
        """The outputs without some components; all others and the residual stay."""
        ...

    def save(self, directory: Path | str) -> None:
        """Write the decomposition into a directory that has none.

        So that it can be read again, the package names a function of the directory as an entry
        point of the group `mad.decompositions`, under its own name.
        """
        ...
