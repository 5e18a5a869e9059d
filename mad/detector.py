"""The detector: profile and calibration of a decomposed network, ready to score."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from mad import store
from mad.calibration import FEWEST_CALIBRATION, Calibration, calibration_named
from mad.checks import (
    as_array,
    as_type,
    check_decomposition,
    check_finite,
    check_in_range,
    check_output,
    check_shape,
)
from mad.decomposition import Decomposition
from mad.errors import InputError, ReferenceError
from mad.evidence import Evidence
from mad.explain import Reasons, reasons
from mad.parting import FEWEST_PROFILE, coarser, enough, parted, unknown, warn_of_repeated
from mad.profile import Profile
from mad.scorer import Scorer

ACCEPTED = "what is to be accepted"


@dataclass(frozen=True, eq=False)
class Detector(Scorer):
    """Scores inputs by how untypical the way is in which a network treats them.

    `Scorer` says what it holds, and scores.
    """

    @classmethod
    def fit(
        cls,
        decomposition: Decomposition,
        reference: Any,
        *,
        explain: str | int = "predicted",
        calibration: str = "pooled",
        seed: int = 0,
    ) -> Detector:
        """Profile and calibrate on the reference rows the components were not trained on.

        The detector keeps a copy of these rows, to explain other outputs by. Where rows are equal,
        p-values hold for inputs that repeat them as often, and are too small for inputs that do
        not.

        Args:
            decomposition: the decomposed network.
            reference: trusted inputs [n, ...], a tensor or an array. Rows trained on are known by
                their values: those of a reference that was scaled or rounded in between are not,
                and p-values that rest on them are too small.
            explain: which output to explain: "predicted" (each input's largest), "all", or the
                index of one.
            calibration: "pooled" or "per-class": whether p-values hold over all inputs, or within
                every predicted class with `FEWEST_CALIBRATION` calibrated inputs or more; see
                `mad.calibration.PerClass` for the others.
            seed: fixes which rows profile and which calibrate.

        Raises:
            ReferenceError: too few rows are left, some are not finite, or some take the network out
                of the range of its numbers.
            InputError: the reference does not have the decomposition's shape, there is no such
                output or calibration, or the decomposition is none.

        Warns:
            CalibrationWarning: more than `MOST_REPEATED` of the calibrated inputs are profiled too.
        """
        check_decomposition(decomposition)
        kind = calibration_named(calibration)
        x = as_array(reference)
        check_shape(x, decomposition)
        check_finite(x, "the reference")
        check_output(decomposition, explain, x)
        first, second = parted(decomposition.unseen_rows(x), seed)
        if not enough(first, second):
            raise ReferenceError(
                f"the reference is too small: it leaves {len(first)} inputs to profile and "
                f"{len(second)} to calibrate, and {FEWEST_PROFILE} and "
                f"{FEWEST_CALIBRATION} are needed"
            )
        warn_of_repeated(x[first], x[second])
        return fitted(decomposition, explain, x[first], x[second], kind)

    def __repr__(self) -> str:
        """What it rests on."""
        return (
            f"<mad.Detector of {len(self.profiled)} profiled and {len(self.calibrated)} calibrated "
            f"inputs, explaining {self.explains!r}>"
        )

    def explaining(self, explain: str | int) -> Detector:
        """The same detector with the attributions about another output.

        Raises:
            InputError: there is no such output.
        """
        check_output(self.decomposition, explain, self.profiled)
        if explain == self.explains:
            return self
        kind = type(self.calibration)
        return fitted(
            self.decomposition, explain, self.profiled, self.calibrated, kind, self.accepted
        )

    def calibrating(self, calibration: str) -> Detector:
        """The same detector with its p-values "pooled" or "per-class"; bits stay what they are.

        Raises:
            InputError: there is no such calibration.
        """
        kind = calibration_named(calibration)
        return replace(self, calibration=kind(self.calibration.bits, self.calibration.prediction))

    def accept(self, x: Any, *, seed: int = 0) -> Detector:
        """A detector to which reviewed inputs are usual too; the components stay as they are.

        Those that the components were trained on, that it holds already, or that repeat another are
        left out. A share `PROFILE_SHARE` of the others is profiled with the inputs that were, the
        rest calibrates with those that did. What is accepted by mistake is not found any more.

        The p-values then speak of a mixture of the reference and of what was accepted, in the
        proportions calibrated. Of m calibrated inputs a being accepted ones, at most a share
        alpha (m + 1) / (m - a + 1) of inputs like the reference alone is flagged. This is of inputs
        accepted whatever their scores, such as all of a new source. Those accepted because they
        were flagged are the highest scores of theirs: with them fewer inputs are flagged, of
        anomalies too.

        Args:
            x: inputs [n, ...] that a person found to be in order.
            seed: fixes which rows profile and which calibrate.

        Raises:
            ReferenceError: some are not finite, or take the network out of the range of its
                numbers.
            InputError: they do not have the reference's shape, are no such numbers, or are all
                among what is trained on, profiled and calibrated already.
        """
        given, held = as_array(x), np.concatenate([self.profiled, self.calibrated])
        check_shape(given, self.decomposition)
        more = as_type(given, held.dtype, ACCEPTED)
        check_finite(more, ACCEPTED)
        more = more[unknown(more, held, coarser(given.dtype, held.dtype))]
        more = more[self.decomposition.unseen_rows(more)]
        if len(more) == 0:
            raise InputError("all of these inputs are usual to the detector already")
        first, second = parted(np.arange(len(more)), seed)
        return fitted(
            self.decomposition,
            self.explains,
            np.concatenate([self.profiled, more[first]]),
            np.concatenate([self.calibrated, more[second]]),
            type(self.calibration),
            self.accepted + len(more),
        )

    @cached_property
    def usual(self) -> Evidence:
        """The evidence of the profiled inputs, gathered when it is first asked for."""
        return self.evidence(self.profiled)

    def explain(self, x: Any, index: int) -> Reasons:
        """Why one of the inputs scores as it does: `Result.explain`, and what takes further passes.

        The first call gathers the evidence of the profiled inputs, which the detector then keeps.

        Args:
            x: inputs [n, ...], a tensor or an array, as they were scored.
            index: the row to explain.

        Raises:
            InputError: the inputs do not have the shape of the reference's, or the row is not
                finite.
            IndexError: there is no such row.
        """
        array = as_array(x)
        check_shape(array, self.decomposition)
        return reasons(self, self.usual, array[index][None], index)

    def save(self, directory: Path | str) -> None:
        """Write the detector, and its decomposition into a directory that is empty or not there.

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


def fitted(
    decomposition: Decomposition,
    explain: str | int,
    profiled: Shaped[np.ndarray, "p *shape"],
    calibrated: Shaped[np.ndarray, "m *shape"],
    kind: type[Calibration],
    accepted: int = 0,
) -> Detector:
    """The detector that profiles some inputs and calibrates on others.

    Raises:
        ReferenceError: some take the network out of the range of its numbers.
    """
    profile = Profile.fit(decomposition, profiled, explain)
    nothing = kind(np.zeros(0), np.zeros(0, dtype=np.int64))
    detector = Detector(
        decomposition, explain, profiled, calibrated, profile, nothing, accepted=accepted
    )
    found = detector.score(calibrated)
    check_in_range(found.finite)
    return replace(detector, calibration=kind.of(found.bits, found.prediction))
