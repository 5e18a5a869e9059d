"""The detector: profile and calibration of a decomposed network, ready to score."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped
from numpy.typing import NDArray

from mad import store
from mad.blocks import blocks
from mad.calibration import conformal_p_values
from mad.decomposition import Decomposition
from mad.errors import InputError, ReferenceError
from mad.profile import Profile
from mad.result import Result, concatenate
from mad.scores import MaskBits

PROFILE_SHARE = 0.6
FEWEST_PROFILE = 20
FEWEST_CALIBRATION = 19
DECIMALS = 6
NUMBERS = "buif"


@dataclass(frozen=True)
class Detector:
    """Scores inputs by how untypical the way is in which a network treats them.

    Attributes:
        decomposition: the decomposed network.
        explains: which output the attributions are about: "predicted", "all" or an index.
        profiled: the reference inputs the profile was fitted on.
        calibrated: the reference inputs the p-values rest on.
        profile: the fitted scores.
        calibration: the scores of the calibrated inputs, in ascending order.
    """

    decomposition: Decomposition
    explains: str | int
    profiled: Shaped[np.ndarray, "p *shape"]
    calibrated: Shaped[np.ndarray, "m *shape"]
    profile: Profile
    calibration: Float[np.ndarray, "m"]

    @classmethod
    def fit(
        cls,
        decomposition: Decomposition,
        reference: Any,
        *,
        explain: str | int = "predicted",
        seed: int = 0,
    ) -> Detector:
        """Profile and calibrate on the reference rows the components were not trained on.

        The detector keeps a copy of these rows, to explain other outputs by.

        Args:
            decomposition: the decomposed network.
            reference: trusted inputs [n, ...], a tensor or an array; given the reference of the
                decomposition, its other rows are used.
            explain: which output to explain: "predicted" (each input's largest), "all", or the
                index of one.
            seed: fixes which rows profile and which calibrate.

        Raises:
            ReferenceError: too few rows are left, or some are not finite.
            InputError: the reference does not have the decomposition's shape, or there is no such
                output.
        """
        x = np.asarray(reference)
        check_shape(x, decomposition)
        bad = np.flatnonzero(~finite_rows(x))
        if len(bad):
            raise ReferenceError(f"the reference holds NaN or infinity, first in row {bad[0]}")
        check_output(decomposition, explain, x)
        unseen = np.random.default_rng(seed).permutation(decomposition.unseen_rows(x))
        count = round(PROFILE_SHARE * len(unseen))
        if count < FEWEST_PROFILE or len(unseen) - count < FEWEST_CALIBRATION:
            raise ReferenceError(
                f"the reference is too small: it leaves {count} inputs to profile and "
                f"{len(unseen) - count} to calibrate, and {FEWEST_PROFILE} and "
                f"{FEWEST_CALIBRATION} are needed"
            )
        return cls._on(decomposition, explain, x[unseen[:count]], x[unseen[count:]])

    @classmethod
    def _on(
        cls,
        decomposition: Decomposition,
        explain: str | int,
        profiled: Shaped[np.ndarray, "p *shape"],
        calibrated: Shaped[np.ndarray, "m *shape"],
    ) -> Detector:
        profile = Profile.fit(decomposition, profiled, explain)
        nothing = np.zeros(len(calibrated))
        uncalibrated = cls(decomposition, explain, profiled, calibrated, profile, nothing)
        return replace(uncalibrated, calibration=np.sort(uncalibrated.score(calibrated).bits))

    def explaining(self, explain: str | int) -> Detector:
        """The same detector with the attributions about another output.

        Raises:
            InputError: there is no such output.
        """
        if explain == self.explains:
            return self
        check_output(self.decomposition, explain, self.profiled)
        return self._on(self.decomposition, explain, self.profiled, self.calibrated)

    @property
    def finest_alpha(self) -> float:
        """The smallest p-value there can be; nothing is ever flagged at a smaller alpha."""
        return 1 / (len(self.calibration) + 1)

    @property
    def rates(self) -> Float[np.ndarray, "C"]:
        """How often the reference used each component."""
        mask_bits = self.profile.scores["mask_bits"]
        assert isinstance(mask_bits, MaskBits)
        return mask_bits.rate

    def score(self, x: Any, progress: Callable[[int], object] | None = None) -> Result:
        """Score inputs; each one's numbers depend on it alone, not on what came with it.

        Beyond the inputs and the result, memory is needed for one block of inputs only.

        Args:
            x: inputs [n, ...], a tensor or an array (mapped from a file, too), or an iterator of
                such chunks; rows holding NaN or infinity are marked, not scored.
            progress: called with the number of rows done so far.

        Raises:
            InputError: the inputs do not have the shape of the reference's.
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
            InputError: the inputs do not have the shape of the reference's; of an iterator, what
                comes before the chunk that is refused may have been yielded.
        """
        chunks = self._checked(x if isinstance(x, Iterator) else [x])
        for own, block in blocks(chunks, self.decomposition.rows_at_once):
            yield self._score(block, own)

    def _checked(self, chunks: Iterable[Any]) -> Iterator[NDArray[Any]]:
        """The chunks as arrays.

        Raises:
            InputError: there is no input, one is not of the decomposition's shape, or the type
                changes.
        """
        dtype = None
        for chunk in chunks:
            array = np.asarray(chunk)
            if array.ndim > 0 and len(array) == 0:
                continue
            check_shape(array, self.decomposition)
            if dtype not in (None, array.dtype):
                raise InputError(f"the inputs are {dtype} at first, and then {array.dtype}")
            dtype = array.dtype
            yield array
        if dtype is None:
            raise InputError("there are no inputs to score")

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
        account = self.profile.account(self.decomposition, block, self.explains)
        total = marked(account.total[:own], finite)
        return Result(
            bits=total,
            p_value=conformal_p_values(total, self.calibration),
            prediction=np.where(finite, account.prediction[:own], -1),
            finite=finite,
            terms={name: marked(bits[:own], finite) for name, bits in account.terms.items()},
            components=account.components[:own],
            component_bits=marked(account.component_bits[:own], finite),
            rates=self.rates,
        )

    def save(self, directory: Path | str) -> None:
        """Write the detector, and its decomposition where it is not there yet.

        Raises:
            StoreError: the directory cannot be written, or holds another decomposition.
        """
        store.write(Path(directory), self)


def load(directory: Path | str) -> Detector:
    """Read a detector and its decomposition back from their directory.

    Raises:
        StoreError: it is missing, truncated, of another version, or of another decomposition.
    """
    return Detector(**store.read(Path(directory)))


def marked(
    bits: Float[np.ndarray, "n ..."], finite: Bool[np.ndarray, "n"]
) -> Float[np.ndarray, "n ..."]:
    """Bits to `DECIMALS` places, NaN in the rows that are not finite.

    The places cut off are rounding noise of float64 products, which may depend on a row's place in
    its block.
    """
    rows = finite.reshape(-1, *[1] * (bits.ndim - 1))
    return np.where(rows, bits.round(DECIMALS), np.nan)


def check_shape(x: NDArray[Any], decomposition: Decomposition) -> None:
    """Refuse inputs that are empty or not of the decomposition's shape.

    Raises:
        InputError: with both shapes.
    """
    if x.dtype.kind not in NUMBERS:
        raise InputError(f"the inputs are {x.dtype}, which is no type of number")
    if x.ndim == 0 or len(x) == 0:
        raise InputError("there are no inputs to score")
    if x.shape[1:] != tuple(decomposition.input_shape):
        raise InputError(
            f"an input has shape {x.shape[1:]}; the target takes {decomposition.input_shape}"
        )


def finite_rows(x: NDArray[Any]) -> Bool[np.ndarray, "n"]:
    """Whether a row holds neither NaN nor infinity."""
    return np.asarray(np.isfinite(x).reshape(len(x), -1).all(1))


def check_output(decomposition: Decomposition, explain: str | int, x: NDArray[Any]) -> None:
    """Refuse an output to explain that the network does not have.

    Raises:
        InputError: with those it has.
    """
    width = decomposition.explain(x[:1], "predicted")[0].shape[1]
    if explain not in ("predicted", "all", *range(width)):
        raise InputError(
            f"there is no output {explain!r} to explain; "
            f"there are 'predicted', 'all', and 0 to {width - 1}"
        )
