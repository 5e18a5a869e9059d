"""`apd score`: how surprising every input's reasons are, in bits, with a p-value and a flag."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    import mad
    from cli.rows import Rows

STDOUT = Path("-")
ANOMALIES = 3
NAMED = 5
SHOWN = 5
SHOWN_COMPONENTS = 3


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
    run, x, detector = opened(run, inputs, key)
    if output != "predicted":
        detector = detector.explaining(output)
    result = scored(detector, x)
    table = tabulate(result, alpha)
    if out == STDOUT:
        rows.to_stdout(table)
    else:
        rows.write(table, out)
    report(result, detector, alpha, run, out)
    if fail_on_anomaly and (table.columns["flagged"].any() or not result.finite.all()):
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
) -> tuple[Path, NDArray[np.generic], mad.Detector]:
    """The run, the inputs as its target takes them, and its detector.

    Raises:
        InputError: there is no run, or the inputs cannot be used.
        apd.RunError, mad.MadError: the run directory is damaged or holds no detector.
    """
    from cli.inputs import fit, read

    x = read(path, key)
    import apd
    import mad
    from cli import runs
    from cli.targets import numpy_type

    run = named or runs.newest_ready()
    target = apd.load(run).target
    x = fit(x, path, target.input_shape, numpy_type(target.input_dtype))
    return run, x, mad.load(run)


def scored(detector: mad.Detector, x: NDArray[np.generic]) -> mad.Result:
    """The scores, with progress."""
    from cli.console import progress

    with progress("scoring", len(x), "rows") as report:
        return detector.score(x, progress=lambda done: report(done, ""))


def tabulate(result: mad.Result, alpha: float) -> Rows:
    """The columns of the contract, in their order."""
    import numpy as np

    from cli.rows import Rows

    columns = {
        "index": np.arange(len(result.bits)),
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


def report(result: mad.Result, detector: mad.Detector, alpha: float, run: Path, out: Path) -> None:
    """Prints the summary; warnings go to stderr, and all of it where stdout has the rows."""
    from cli.console import facts, say, screen

    warnings, console = screen(stderr=True), screen(stderr=out == STDOUT)
    warn(result, detector, alpha, warnings)
    flagged = result.flagged(alpha)
    count, n = int(flagged.sum()), int(result.finite.sum())
    facts(
        console,
        {
            "run": str(run),
            "scored": f"{n} inputs",
            "flagged": f"{count} at alpha {alpha:g}; "
            f"of as many trusted inputs about {alpha * n:.2g} would be",
            "written": "stdout" if out == STDOUT else str(out),
        },
    )
    if count:
        show_flagged(result, flagged, console)
    else:
        say(console, "No input was flagged.", "green")


def warn(result: mad.Result, detector: mad.Detector, alpha: float, console: Console) -> None:
    """Says what the numbers cannot: rows left out, and an alpha nothing can reach."""
    from cli.console import say
    from cli.inputs import few

    bad = (~result.finite).nonzero()[0]
    if len(bad):
        rows_word = "row" if len(bad) == 1 else "rows"
        say(
            console,
            f"apd: warning: {rows_word} {few(bad)} hold NaN or infinity and could not be scored.",
            "yellow",
        )
    if alpha < detector.finest_alpha:
        say(
            console,
            f"apd: warning: nothing can be flagged at alpha {alpha:g}, because the smallest "
            f"p-value this calibration allows is {detector.finest_alpha:.2g}.",
            "yellow",
        )


def show_flagged(result: mad.Result, flagged: NDArray[np.bool_], console: Console) -> None:
    """Prints the most surprising of the flagged inputs, and the components that made them so."""
    import numpy as np

    from cli.console import say, table

    order = np.where(flagged, result.bits, -np.inf).argsort()[::-1]
    worst = order[: min(SHOWN, int(flagged.sum()))]
    say(console, "\nMost surprising, and the components that made them so:", "bold red")
    console.print(
        table(
            ("input", "bits", "p", "predicts", "components (bits)"),
            (
                (
                    str(i),
                    f"{result.bits[i]:.1f}",
                    f"{result.p_value[i]:.2g}",
                    str(result.prediction[i]),
                    leading(result.explain(int(i))),
                )
                for i in worst
            ),
            words=True,
        )
    )


def leading(explanation: mad.Explanation) -> str:
    """The first few components of an explanation, with their bits."""
    first = explanation.components[:SHOWN_COMPONENTS]
    return ", ".join(f"{part.component} ({part.bits:.1f})" for part in first)
