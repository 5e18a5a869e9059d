"""What scoring returns."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from mad.calibration import (
    Calibration,
    CalibrationWarning,
    discovery_alpha,
    fewest_discoveries,
)
from mad.drift import Drift, Tally
from mad.errors import InputError


@dataclass(frozen=True)
class ComponentBits:
    """One component's part in an input's score.

    Attributes:
        component: its index.
        bits: the bits it answers for.
        rate: how often the reference used it.
    """

    component: int
    bits: float
    rate: float


@dataclass(frozen=True)
class Explanation:
    """Why an input scored as it did.

    Attributes:
        index: the input's row.
        bits: its score.
        p_value: its conformal p-value.
        prediction: the index of the target's largest output.
        terms: the bits of every term.
        components: the components that answer for most bits, in falling order.
    """

    index: int
    bits: float
    p_value: float
    prediction: int
    terms: dict[str, float]
    components: tuple[ComponentBits, ...]


@dataclass(frozen=True, eq=False)
class Result:
    """The scores of n inputs; rows not scored hold NaN, and -1 as prediction and components.

    Attributes:
        bits: the total, higher = more anomalous.
        p_value: conformal p-value of the total, lower = more anomalous.
        prediction: the index of the target's largest output.
        finite: whether the input and what the network made of it were, and so could be scored.
        terms: every term's bits.
        components: the components that answer for most bits, in falling order.
        component_bits: the bits they answer for.
        rates: how often the reference used each component.
        calibration: what the p-values rest on.
    """

    bits: Float[np.ndarray, "n"]
    p_value: Float[np.ndarray, "n"]
    prediction: Int[np.ndarray, "n"]
    finite: Bool[np.ndarray, "n"]
    terms: Mapping[str, Float[np.ndarray, "n"]]
    components: Int[np.ndarray, "n top"]
    component_bits: Float[np.ndarray, "n top"]
    rates: Float[np.ndarray, "C"]
    calibration: Calibration

    def __repr__(self) -> str:
        """How many inputs there are."""
        return f"<mad.Result of {len(self.bits)} inputs, {int(self.finite.sum())} of them scored>"

    def flagged(self, alpha: float) -> Bool[np.ndarray, "n"]:
        """Whether p <= alpha; of reference-like inputs at most a share alpha is, on average.

        That is over all classes together, or within a class: see the class of the calibration.

        Raises:
            InputError: alpha is no share.

        Warns:
            CalibrationWarning: some inputs' p-values cannot be so small (`Calibration.finest`).
        """
        self._warn(alpha)
        return self.p_value <= alpha

    def discoveries(self, fdr: float = 0.1) -> Bool[np.ndarray, "n"]:
        """The flags of a batch of which on average at most a share fdr is false.

        By Benjamini and Hochberg (1995), which holds because conformal p-values that rest on one
        calibration set are positively dependent (PRDS; Bates et al. 2023, arXiv 2104.08279,
        theorem 2), where the batch's inputs are independent. Calibrated per class, it holds where
        no class falls back. Unlike p-values, they depend on what came with an input.

        Args:
            fdr: the share of false ones among the discoveries that is allowed.

        Raises:
            InputError: fdr is no share.

        Warns:
            CalibrationWarning: some inputs' p-values are above fdr, whatever they are; or there are
                no discoveries, and could only be several at once.
        """
        self._warn(fdr)
        found = self.p_value <= discovery_alpha(self.p_value, fdr)
        allowed = self.calibration.finest(self.prediction[self.finite])
        n, finest = len(allowed), float(allowed.min(initial=1.0))
        if not found.any() and 1 < (fewest := fewest_discoveries(n, finest, fdr)) <= n:
            warnings.warn(
                f"of {n} inputs, fewer than {fewest} cannot be discovered at {fdr:g}: "
                f"the smallest p-value that the calibration allows is {finest:.3g}",
                CalibrationWarning,
                stacklevel=2,
            )
        return found

    def tally(self) -> Tally:
        """What drift needs to know of these inputs; the sum over parts is that of all of them."""
        return Tally.of(self.calibration, self.bits[self.finite], self.prediction[self.finite])

    def drift(self) -> Drift:
        """Whether the batch as a whole differs from the calibration inputs.

        Raises:
            InputError: no input was scored.
        """
        return self.tally().drift()

    def _warn(self, level: float) -> None:
        if not 0 <= level <= 1:
            raise InputError(f"{level:g} is no share: it is not between 0 and 1")
        finest = self.calibration.finest(self.prediction[self.finite])
        unreachable = int((finest > level).sum())
        if unreachable:
            warnings.warn(
                f"{unreachable} of {len(finest)} inputs cannot be flagged at {level:g}: the "
                f"smallest p-value that the calibration allows them is {finest.max():.3g}",
                CalibrationWarning,
                stacklevel=3,
            )

    def explain(self, index: int) -> Explanation:
        """The account of one input.

        Raises:
            InputError: it was not scored.
            IndexError: there is no such row.
        """
        if not self.finite[index]:
            raise InputError(f"row {index} was not scored, so there is nothing to explain")
        named = zip(self.components[index], self.component_bits[index], strict=True)
        return Explanation(
            index=index,
            bits=float(self.bits[index]),
            p_value=float(self.p_value[index]),
            prediction=int(self.prediction[index]),
            terms={name: float(bits[index]) for name, bits in self.terms.items()},
            components=tuple(
                ComponentBits(int(c), float(bits), float(self.rates[c])) for c, bits in named
            ),
        )


def concatenate(parts: Sequence[Result]) -> Result:
    """The scores of several parts of the inputs, by the same detector, as one."""

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts])

    first = parts[0]
    return Result(
        bits=joined("bits"),
        p_value=joined("p_value"),
        prediction=joined("prediction"),
        finite=joined("finite"),
        terms={name: np.concatenate([part.terms[name] for part in parts]) for name in first.terms},
        components=joined("components"),
        component_bits=joined("component_bits"),
        rates=first.rates,
        calibration=first.calibration,
    )
