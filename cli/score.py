"""`apd score`: how surprising every input's reasons are, in bits, with a p-value and a flag."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import InputError
from cli.files import STDOUT
from cli.summary import Summary, report

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    import mad
    from cli.rows import Rows

ANOMALIES = 3
NAMED = 5


def explained(text: str) -> str | int:
    """Which output to explain: "predicted", "all" or an index.

    Raises:
        typer.BadParameter: it is none of these.
    """
    if text in ("predicted", "all"):
        return text
    if text.isdecimal():
        return int(text)
    raise typer.BadParameter(f"{text!r} is not predicted, all or the index of an output")


def written(path: Path) -> Path:
    """A file of a format that can be written.

    Raises:
        typer.BadParameter: its suffix is of none.
    """
    from cli.rows import WRITERS

    if path != STDOUT and path.suffix not in WRITERS:
        raise typer.BadParameter(
            f"{path} does not end in {', '.join(WRITERS)} (or be '-' for CSV on stdout)"
        )
    return path


def share(value: float) -> float:
    """A false-alarm budget.

    Raises:
        typer.BadParameter: it is not between 0 and 1.
    """
    if not 0 < value < 1:
        raise typer.BadParameter(f"{value} is not between 0 and 1")
    return value


def score(
    inputs: Annotated[
        Path, typer.Argument(metavar="INPUTS.npz", help="The array x, or the only one.")
    ],
    run: Annotated[
        Path | None, typer.Option(help="The run directory.  [default: the newest under ./runs]")
    ] = None,
    out: Annotated[
        Path,
        typer.Option(callback=written, help=".csv, .jsonl, .npz or .parquet; - is CSV on stdout."),
    ] = Path("scores.csv"),
    key: Annotated[str | None, typer.Option(help="Which array of the file to score.")] = None,
    alpha: Annotated[
        float, typer.Option(callback=share, help="Share of false alarms on inputs you trust.")
    ] = 0.01,
    explain: Annotated[
        str, typer.Option(help="The output whose reasons count: predicted, all or an index.")
    ] = "predicted",
    fail_on_anomaly: Annotated[
        bool,
        typer.Option("--fail-on-anomaly", help="Exit 3 where a row is flagged or unscorable."),
    ] = False,
) -> None:
    """Score inputs in bits of surprise, and flag anomalies.

    More bits: the network's output came about for less usual reasons. The p-value is calibrated on
    inputs you trust; a row is flagged where it is at most alpha.

    Example: apd score inputs.npz --alpha 0.001 --out scores.jsonl --fail-on-anomaly
    """
    from cli import rows

    output = explained(explain)
    if out != STDOUT:
        refuse_output(out, inputs)
    run, count, chunks, detector = opened(run, inputs, key)
    if output != "predicted":
        detector = detector.explaining(output)
    summary = Summary(alpha)
    with closing(scored(detector, chunks, count, summary)) as tables:
        if out == STDOUT:
            rows.to_stdout(tables)
        else:
            rows.write(tables, out)
    report(summary, detector, run, out)
    if fail_on_anomaly and (summary.flagged or summary.unscored):
        raise typer.Exit(ANOMALIES)


def refuse_output(out: Path, inputs: Path) -> None:
    """Refuses a file that cannot be written or that would overwrite the inputs, before any work.

    Raises:
        InputError: so it is.
    """
    if out.exists() and inputs.exists() and out.samefile(inputs):
        raise InputError(f"{out} holds the inputs, which the scores would overwrite")
    from cli.rows import check

    check(out)


def opened(
    named: Path | None, path: Path, key: str | None
) -> tuple[Path, int, Iterator[NDArray[np.generic]], mad.Detector]:
    """The run, how many inputs there are, the inputs as its target takes them, and its detector.

    Raises:
        InputError: there is no run, or the inputs cannot be used.
        apd.RunError, mad.MadError: the run directory is damaged or holds no detector.
    """
    from cli.inputs import fitting, look

    inputs = look(path, key)
    import apd
    import mad
    from cli import runs
    from cli.targets import numpy_type

    run = named or runs.newest_ready()
    target = apd.load(run).target
    chunks = fitting(inputs, target.input_shape, numpy_type(target.input_dtype))
    return run, inputs.shape[0], chunks, mad.load(run)


def scored(
    detector: mad.Detector, chunks: Iterator[NDArray[np.generic]], count: int, summary: Summary
) -> Generator[Rows]:
    """Tables of scores as the inputs come, noted in the summary, with progress."""
    from cli.console import progress

    with progress("scoring", count, "rows") as advance:
        for part in detector.stream(chunks):
            table = tabulate(part, summary.seen, summary.alpha)
            summary.note(part)
            yield table
            advance(summary.seen, "")


def tabulate(result: mad.Result, first: int, alpha: float) -> Rows:
    """The columns of the contract, in their order, of rows numbered from `first`."""
    import numpy as np

    from cli.rows import Rows

    columns = {
        "index": np.arange(first, first + len(result.bits)),
        "score_bits": result.bits,
        "p_value": result.p_value,
        "flagged": result.flagged(alpha),
        "prediction": result.prediction,
        **result.terms,
        "status": np.where(result.finite, "ok", "non-finite"),
    }
    for k in range(min(NAMED, result.components.shape[1])):
        columns[f"component_{k + 1}"] = result.components[:, k]
        columns[f"component_{k + 1}_bits"] = result.component_bits[:, k]
    return Rows(columns, result.finite)
