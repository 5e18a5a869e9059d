"""A fitted profile and calibration at work: inputs in, scores out, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped

from mad.blocks import blocks
from mad.calibration import Calibration
from mad.checks import checked
from mad.decomposition import Decomposition
from mad.evidence import Evidence, gather_all
from mad.profile import Profile
from mad.result import Result, concatenate
from mad.scores import MaskBits

DECIMALS = 6


@dataclass(frozen=True, eq=False)
class Scorer:
    """What scores inputs; `mad.Detector` says how it comes about.

    Attributes:
        decomposition: the decomposed network.
        explains: which output the attributions are about: "predicted", "all" or an index.
        profiled: the reference inputs the profile was fitted on.
        calibrated: the reference inputs the p-values rest on.
        profile: the fitted scores.
        calibration: the scores of the calibrated inputs, and which of them a p-value rests on.
        accepted: how many of the profiled and calibrated inputs were accepted after the fit.
    """

    decomposition: Decomposition
    explains: str | int
    profiled: Shaped[np.ndarray, "p *shape"]
    calibrated: Shaped[np.ndarray, "m *shape"]
    profile: Profile
    calibration: Calibration
    accepted: int = 0

    @property
    def finest_alpha(self) -> float:
        """The smallest p-value that inputs of the classes calibrated on can have."""
        return self.calibration.finest_alpha

    @property
    def rates(self) -> Float[np.ndarray, "C"]:
        """The share of the profiled inputs that use each component."""
        mask_bits = self.profile.scores["mask_bits"]
        assert isinstance(mask_bits, MaskBits)
        return mask_bits.code.counts(len(self.profiled)) / len(self.profiled)

    def score(self, x: Any, progress: Callable[[int], object] | None = None) -> Result:
        """Score inputs; each one's numbers depend on it alone, not on what came with it.

        Beyond the inputs and the result, memory is needed for one block of inputs only.

        Args:
            x: inputs [n, ...], a tensor or an array (mapped from a file, too), or an iterator of
                such chunks; rows holding NaN or infinity, a token that the network has no row for,
                or numbers so large that it leaves their range, are marked, not scored.
            progress: called with the number of rows done so far.

        Raises:
            InputError: the inputs do not have the shape of the reference's, or its kind of number.
        """
        parts: list[Result] = []
        done = 0
        for part in self.stream(x):
            parts.append(part)
            done += len(part.bits)
            if progress is not None:
                progress(done)
        return concatenate(parts)

    def stream(self, x: Any) -> Iterator[Result]:
        """Score inputs as `score` does, and to the same bits, yielding every block when it is done.

        However many inputs there are, memory is needed for one block and one chunk of them.

        Args:
            x: inputs [n, ...], a tensor or an array (mapped from a file, too), or an iterator of
                such chunks, all of one type.

        Yields:
            The results of consecutive inputs, `decomposition.rows_at_once` of them but at the end.

        Raises:
            InputError: the inputs do not have the shape of the reference's, or its kind of number;
                of an iterator, what comes before the chunk that is refused may have been yielded.
        """
        given = x if isinstance(x, Iterator) else [x]
        chunks = checked(given, self.decomposition, self.profiled.dtype)
        for own, block in blocks(chunks, self.decomposition.rows_at_once):
            yield self._score(block, own)

    def evidence(self, x: Shaped[np.ndarray, "n *shape"]) -> Evidence:
        """Everything the scores look at, of finite inputs."""
        threshold, trusted = float(self.profile.threshold), self.profile.trusted
        return gather_all(self.decomposition, x, self.explains, threshold, trusted)

    def _score(self, block: Shaped[np.ndarray, "rows *shape"], own: int) -> Result:
        """Score the first `own` rows of a block of the decomposition's size.

        Args:
            block: the inputs; what is not finite in them is set to zero.
            own: how many rows are inputs, the others being filling.
        """
        sound = np.isfinite(block)
        finite = np.asarray(sound.reshape(len(block), -1).all(1))[:own]
        if not finite.all():
            block[~sound] = 0
        with np.errstate(over="ignore", invalid="ignore"):
            account = self.profile.account(self.decomposition, block, self.explains)
        total = rounded(account.total[:own])
        finite &= np.isfinite(total)
        total = np.where(finite, total, np.nan)
        prediction = account.prediction[:own]
        return Result(
            bits=total,
            p_value=self.calibration.p_values(total, prediction),
            prediction=np.where(finite, prediction, -1),
            finite=finite,
            terms={name: marked(bits[:own], finite) for name, bits in account.terms.items()},
            components=np.where(finite[:, None], account.components[:own], -1),
            component_bits=marked(account.component_bits[:own], finite),
            rates=self.rates,
            calibration=self.calibration,
        )


def marked(
    bits: Float[np.ndarray, "n ..."], finite: Bool[np.ndarray, "n"]
) -> Float[np.ndarray, "n ..."]:
    """Rounded bits, NaN in the rows that are not finite."""
    rows = finite.reshape(-1, *[1] * (bits.ndim - 1))
    return np.where(rows, rounded(bits), np.nan)


def rounded(bits: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "n ..."]:
    """Bits to `DECIMALS` places; infinite where they are as large as the largest float nearly.

    The places cut off are rounding noise of float64 products, which may depend on a row's place in
    its block.
    """
    with np.errstate(over="ignore"):
        return bits.round(DECIMALS)
