"""`apd export`: the whole scorer as one .onnx file, for any program that runs such files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import files
from cli.errors import InputError
from cli.flags import ALPHA, ending, share
from cli.packages import refuse_missing

if TYPE_CHECKING:
    import onnx

    import apd
    import mad

SUFFIX = ".onnx"
INPUT = "x"
FORMAT = "apd scorer"
PRECISIONS = ("float32", "float64")
USAGE = (
    "Inputs are rows, and need not be finite. Flag the rows whose p_value is at most alpha: of "
    "trusted inputs at most a share alpha is, on average; an alpha below finest_alpha flags none. "
    "p_value is (1 + the number of calibration_bits >= bits) / (1 + the number of all of them); "
    "where calibration is per-class, those count whose calibration_prediction is the input's, if "
    "there are 19 or more."
)


def suffixed(path: Path) -> Path:
    """A file of the right kind.

    Raises:
        typer.BadParameter: its suffix is another.
    """
    return ending(path, [SUFFIX])


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
    ] = ALPHA,
) -> None:
    """Write a run's whole scorer as an .onnx file: inputs in; bits, p-values and components out.

    It is for networks of linear layers and convolutions, and needs nothing but onnxruntime then.
    The file is kept only if it gives the same bits here as the run does, on trusted inputs.

    Example: apd export runs/mine --out scorer.onnx
    """
    refuse_missing("checking a scorer", "onnxruntime")
    files.check(out)
    files.check_replaced(out, is_scorer, "scorer")
    from cli import runs
    from cli.agreement import check
    from cli.console import facts, say, screen
    from cli.summary import say_too_fine

    run = run or runs.newest_ready()
    detector = runs.detector_in(run)
    content = model_of(detector, alpha).SerializeToString()
    checked = check(content, INPUT, detector, runs.decomposition_of(detector))
    files.write_whole(out, lambda stream: stream.write(content))
    say_too_fine(alpha, detector.finest_alpha)
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


def is_scorer(path: Path) -> bool:
    """Whether an .onnx file is a scorer, and not another network."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        found = onnx.load(path, load_external_data=False).metadata_props
    except DecodeError:
        return False
    return any(each.key == "format" and each.value == FORMAT for each in found)


def model_of(detector: mad.Detector, alpha: float) -> onnx.ModelProto:
    """A detector as a graph.

    Raises:
        InputError: the network computes in a precision that cannot be exported.
        apd.TargetError: it calls operators that cannot be.
        mad.InputError: a score cannot be.
    """
    import numpy as np

    from apd.to_onnx import Network, Writer
    from cli import runs
    from mad.export import cleaned, scorer

    run = runs.decomposition_of(detector)
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


def metadata(detector: mad.Detector, run: apd.Run, alpha: float) -> dict[str, str]:
    """What a file says of itself, as text; numbers and lists as JSON."""
    from importlib.metadata import version

    from mad.calibration import name_of

    return {
        "format": FORMAT,
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
