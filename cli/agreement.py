"""Whether an exported scorer gives in onnxruntime what the run gives here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from cli.errors import OutputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    import apd
    import mad

ROWS = 256
TOLERANCE = 1e-3
UNDECIDED = 1e-5
ERRORS = 3


class Checked(NamedTuple):
    """On how many inputs a file was tried, how far off it was at most, and how many were too close.

    Attributes:
        rows: inputs compared.
        off: the largest difference of any bits, relative to them or to one bit.
        undecided: inputs left out, a component of which is so near to being active that rounding
            decides.
    """

    rows: int
    off: float
    undecided: int


def check(content: bytes, takes: str, detector: mad.Detector, run: apd.Run) -> Checked:
    """Compares a file's numbers with the detector's on inputs the detector was calibrated on.

    Args:
        content: the file.
        takes: the name of its input.
        detector: what was exported.
        run: the decomposition it rests on.

    Raises:
        OutputError: they differ by more than `TOLERANCE`, or onnxruntime cannot run the file.
    """
    import numpy as np

    x = detector.calibrated[:ROWS]
    got = evaluated(content, {takes: run.target.prepare(x).cpu().numpy()})
    expected = detector.score(x)
    strength = detector.evidence(x).strengths
    threshold = float(detector.profile.threshold)
    decided = (np.abs(strength - threshold) > UNDECIDED * threshold).all(1)
    if not decided.any():
        raise OutputError(
            "nothing was written: rounding decides what is active on every trusted input, so there "
            "is nothing to compare the scorer on"
        )
    given = {"bits": expected.bits, **expected.terms}
    every = {name: relative(got[name], bits)[decided] for name, bits in given.items()}
    named = np.take_along_axis(got["component_bits"], expected.components, 1)
    every["component_bits"] = relative(named, expected.component_bits)[decided]
    worst = max(every, key=lambda name: float(every[name].max(initial=0)))
    off = float(every[worst].max(initial=0))
    if not off <= TOLERANCE:
        raise OutputError(
            f"nothing was written: in onnxruntime the scorer's {worst} are off by {off:.2g}, "
            f"of their bits or of one bit, where {TOLERANCE:g} is allowed"
        )
    if not np.array_equal(got["prediction"][decided], expected.prediction[decided]):
        raise OutputError("nothing was written: in onnxruntime the scorer's predictions are others")
    p = detector.calibration.p_values(got["bits"], got["prediction"].astype(np.int64))
    if not np.array_equal(p, got["p_value"]):
        raise OutputError("nothing was written: in onnxruntime the scorer's p-values are others")
    return Checked(int(decided.sum()), off, int((~decided).sum()))


def relative(got: NDArray[np.floating], expected: NDArray[np.floating]) -> NDArray[np.floating]:
    """How far bits are off, relative to what they should be, or to one bit where that is more."""
    import numpy as np

    return np.abs(got - expected) / np.maximum(np.abs(expected), 1)


def evaluated(content: bytes, given: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """A file's outputs in onnxruntime, by name.

    Raises:
        OutputError: onnxruntime cannot run it.
    """
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS
    try:
        session: Any = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, given), strict=True))
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise OutputError(f"nothing was written: onnxruntime cannot run it: {reason}") from error
