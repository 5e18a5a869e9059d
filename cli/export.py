"""`apd export`: the whole scorer as one .onnx file, for any program that runs such files."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from cli.errors import InputError, OutputError
from cli.files import write_whole
from cli.score import share

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    import apd
    import mad

SUFFIX = ".onnx"
INPUT = "x"
ROWS = 256
TOLERANCE = 1e-4
UNDECIDED = 1e-5
PRECISIONS = ("float32", "float64")
ERRORS = 3
USAGE = (
    "Inputs are rows, and need not be finite. Flag the rows whose p_value is at most alpha: of "
    "trusted inputs at most a share alpha is, on average; an alpha below finest_alpha flags none. "
    "p_value is (1 + the number of calibration_bits >= bits) / (1 + the number of all of them); "
    "where calibration is per-class, those count whose calibration_prediction is the input's, if "
    "there are 19 or more."
)


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


def suffixed(path: Path) -> Path:
    """A file of the right kind.

    Raises:
        typer.BadParameter: its suffix is another.
    """
    if path.suffix != SUFFIX:
        raise typer.BadParameter(f"{path} does not end in {SUFFIX}")
    return path


def export(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="The directory.  [default: the newest under ./runs]"),
    ] = None,
    out: Annotated[Path, typer.Option(callback=suffixed, help="The file to write.")] = Path(
        "scorer.onnx"
    ),
    alpha: Annotated[
        float, typer.Option(callback=share, help="Share of false alarms to note in the file.")
    ] = 0.01,
) -> None:
    """Write a run's whole scorer as an .onnx file: inputs in; bits, p-values and components out.

    It is for networks of linear layers and convolutions, and needs nothing but onnxruntime then.
    The file is kept only if it gives the same bits here as the run does, on trusted inputs.

    Example: apd export runs/digits-20261122-180000 --out scorer.onnx
    """
    if find_spec("onnxruntime") is None:
        raise InputError(
            "a scorer is checked with onnxruntime; install it with `pip install 'apd[onnx]'`"
        )
    if not out.parent.is_dir():
        raise OutputError(f"{out} cannot be written: there is no directory {out.parent}")
    import mad
    from cli import runs
    from cli.console import facts, say, screen

    run = run or runs.newest_ready()
    detector = mad.load(run)
    content = model_of(detector, alpha).SerializeToString()
    checked = check(content, detector)
    write_whole(out, lambda stream: stream.write(content))
    console = screen()
    say(console, f"Wrote the scorer of {run} to {out}.")
    facts(
        console,
        {
            "size": f"{len(content) / 1024:,.0f} kB",
            "checked": f"on {checked.rows} trusted inputs, bits off by {checked.off:.1g} at most, "
            "relatively",
            "left out": f"{checked.undecided} inputs on which rounding decides what is active",
            "p-values": f"{detector.finest_alpha:.2g} is the smallest there can be",
        },
    )
    say(
        console,
        f"Flag what has a p_value of at most {alpha:g}; its metadata says the rest.",
        "bold",
    )


def model_of(detector: mad.Detector, alpha: float) -> onnx.ModelProto:
    """A detector as a graph.

    Raises:
        InputError: the network computes in a precision that cannot be exported.
        apd.TargetError: it calls operators that cannot be.
        mad.InputError: a score cannot be.
    """
    import numpy as np

    from apd.exporter import Network, Writer
    from mad.export import cleaned, scorer

    run = decomposition_of(detector)
    precision, taken = (
        str(kind).removeprefix("torch.") for kind in (run.target.dtype, run.target.input_dtype)
    )
    if precision not in PRECISIONS or taken not in PRECISIONS:
        raise InputError(
            f"the network takes {taken} and computes in {precision}; "
            f"only {' and '.join(PRECISIONS)} can be exported"
        )
    writer = Writer(np.dtype(precision))
    x, finite = cleaned(writer, INPUT, np.dtype(taken), len(run.input_shape))
    outputs = scorer(writer, Network(writer, run, x), detector, finite)
    return writer.model(
        {INPUT: (np.dtype(taken), ("n", *run.input_shape))},
        {name: (each.value, each.dtype, each.shape) for name, each in outputs.items()},
        {
            **metadata(detector, run, alpha),
            "input": json.dumps({"name": INPUT, "type": taken, "shape": ["n", *run.input_shape]}),
            "outputs": json.dumps({name: each.meaning for name, each in outputs.items()}),
        },
    )


def decomposition_of(detector: mad.Detector) -> apd.Run:
    """The run a detector rests on.

    Raises:
        InputError: it is a decomposition of another kind.
    """
    import apd

    if not isinstance(detector.decomposition, apd.Run):
        raise InputError("only decompositions by apd can be exported")
    return detector.decomposition


def metadata(detector: mad.Detector, run: apd.Run, alpha: float) -> dict[str, str]:
    """What a file says of itself, as text; numbers and lists as JSON."""
    from importlib.metadata import version

    from mad.calibration import name_of

    return {
        "format": "apd scorer",
        "format_version": "1",
        "package_version": version("apd"),
        "usage": USAGE,
        "target_fingerprint": run.target.fingerprint,
        "decomposition_fingerprint": run.fingerprint,
        "reference_fingerprint": run.reference_fingerprint,
        "explains": str(detector.explains),
        "alpha": json.dumps(alpha),
        "finest_alpha": json.dumps(detector.finest_alpha),
        "calibration": name_of(detector.calibration),
        "calibration_bits": json.dumps(detector.calibration.bits.tolist()),
        "calibration_prediction": json.dumps(detector.calibration.prediction.tolist()),
        "component_rates": json.dumps(detector.rates.round(6).tolist()),
    }


def check(content: bytes, detector: mad.Detector) -> Checked:
    """Compares a file's numbers with the detector's on inputs the detector was calibrated on.

    Raises:
        OutputError: they differ by more than `TOLERANCE`, or onnxruntime cannot run the file.
    """
    import numpy as np

    run = decomposition_of(detector)
    x = detector.calibrated[:ROWS]
    got = evaluated(content, run.target.prepare(x).cpu().numpy())
    expected = detector.score(x)
    strength = np.abs(detector.evidence(x).attributions)
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
            f"nothing was written: in onnxruntime the scorer's {worst} are off by {off:.1g}, "
            f"relatively, where {TOLERANCE:g} is allowed"
        )
    p = detector.calibration.p_values(got["bits"], got["prediction"].astype(np.int64))
    if not np.array_equal(p, got["p_value"]):
        raise OutputError("nothing was written: in onnxruntime the scorer's p-values are others")
    return Checked(int(decided.sum()), off, int((~decided).sum()))


def relative(got: NDArray[np.floating], expected: NDArray[np.floating]) -> NDArray[np.floating]:
    """How far bits are off, relative to what they should be, or to one bit where that is more."""
    import numpy as np

    return np.abs(got - expected) / np.maximum(np.abs(expected), 1)


def evaluated(content: bytes, x: NDArray[Any]) -> dict[str, NDArray[Any]]:
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
        return dict(zip(names, session.run(names, {INPUT: x}), strict=True))
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise OutputError(f"nothing was written: onnxruntime cannot run it: {reason}") from error
