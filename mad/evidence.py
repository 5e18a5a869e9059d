"""Everything the scores look at, for one block of inputs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from mad.blocks import blocks
from mad.checks import finite_rows
from mad.decomposition import Decomposition
from mad.predicted import Predicted

MOST_EFFECTS = 512
ROUNDING = 1e-4


@dataclass(frozen=True, eq=False)
class Evidence:
    """How a decomposed network treated n inputs, in the precision it computes in.

    Attributes:
        outputs: the network's own outputs.
        prediction: the index of the largest output.
        attributions: what each component contributed to the explained output, over all its sites,
            in units of the output.
        strengths: by which components are active.
        active: which components are: those of at least the profile's strength.
        masked: the outputs when only the active components run.
        on_trusted: the outputs of all trusted components together.
        input_effects: what came in through the coordinates of an input, in units of the explained
            output; those of consecutive coordinates together where there are over `MOST_EFFECTS`.
    """

    outputs: Float[np.ndarray, "n d"]
    prediction: Int[np.ndarray, "n"]
    attributions: Float[np.ndarray, "n C"]
    strengths: Float[np.ndarray, "n C"]
    active: Bool[np.ndarray, "n C"]
    masked: Float[np.ndarray, "n d"]
    on_trusted: Float[np.ndarray, "n d"]
    input_effects: Float[np.ndarray, "n q"]

    @cached_property
    def predicted(self) -> Predicted:
        """The prediction, and how sure the network is."""
        return Predicted.of(self.outputs, self.prediction)

    @property
    def finite(self) -> Bool[np.ndarray, "n"]:
        """Whether an input left the network in the range of its numbers."""
        return np.all([finite_rows(getattr(self, f.name)) for f in fields(self)], axis=0)

    @property
    def sparse_error(self) -> float:
        """Mean squared error of the outputs on the active components alone, over their variance.

        0 is exact; 1 is as good as the mean output (`apd.recovery.sparse_error`).
        """
        error = np.square(self.outputs - self.masked).mean()
        return float(error / max(self.outputs.var(0).mean(), np.finfo(error.dtype).tiny))

    @property
    def spread(self) -> float:
        """The outputs' standard deviation, the root mean square over them all."""
        return float(np.sqrt(self.outputs.astype(np.float64).var(0).mean()))

    @property
    def rounding(self) -> float:
        """By what outputs that should be the same may differ: a share of their root mean square."""
        return float(ROUNDING * np.sqrt(np.square(self.outputs, dtype=np.float64).mean()))

    def rows(self, chosen: slice | Bool[np.ndarray, "n"]) -> Evidence:
        """The evidence of some of the inputs."""
        return Evidence(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})


def gather(
    decomposition: Decomposition,
    x: Shaped[np.ndarray, "n *shape"],
    explain: str | int,
    threshold: float,
    trusted: Bool[np.ndarray, "C"],
) -> Evidence:
    """Run a block of inputs through a decomposition.

    Args:
        decomposition: the decomposed network.
        x: inputs.
        explain: which output the attributions are about.
        threshold: the strength from which a component counts as active.
        trusted: which components trusted inputs use.
    """
    outputs, attributions, strengths, effects = decomposition.explain(x, explain)
    active = strengths >= threshold
    return Evidence(
        outputs=outputs,
        prediction=outputs.argmax(1),
        attributions=attributions,
        strengths=strengths,
        active=active,
        masked=decomposition.masked_outputs(x, active),
        on_trusted=decomposition.outputs_on(x, np.flatnonzero(trusted).tolist()),
        input_effects=together(effects, MOST_EFFECTS),
    )


def together(effects: Float[np.ndarray, "n p"], most: int) -> Float[np.ndarray, "n q"]:
    """Effects in runs of consecutive coordinates of one length, the last one filled up by zeros."""
    n, p = effects.shape
    length = -(-p // most)
    filled = np.pad(effects, ((0, 0), (0, -p % length)))
    return filled.reshape(n, -1, length).sum(2)


def gather_all(
    decomposition: Decomposition,
    x: Shaped[np.ndarray, "n *shape"],
    explain: str | int,
    threshold: float,
    trusted: Bool[np.ndarray, "C"],
) -> Evidence:
    """The same of any number of inputs, block by block; all of it is in memory in the end."""
    return concatenate(
        [
            gather(decomposition, block, explain, threshold, trusted).rows(slice(own))
            for own, block in blocks([x], decomposition.rows_at_once)
        ]
    )


def concatenate(parts: list[Evidence]) -> Evidence:
    """The evidence of several blocks as one."""
    return Evidence(
        **{
            f.name: np.concatenate([getattr(part, f.name) for part in parts])
            for f in fields(Evidence)
        }
    )


def strength_threshold(strengths: Float[np.ndarray, "n C"], active: float) -> float:
    """The strength that `active` components per input reach on average over a reference.

    Above 0, as what does nothing is not active, however few do anything.
    """
    k = min(strengths.size, max(1, round(active * len(strengths))))
    reached = np.partition(strengths, -k, axis=None)[-k]
    return float(max(reached, np.finfo(strengths.dtype).tiny))
