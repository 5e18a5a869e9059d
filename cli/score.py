"""`apd score`: how surprising every input's reasons are, in bits, with a p-value and a flag."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
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
NAMED_ROWS = 10


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


@dataclass
class Summary:
    """What is said of all inputs in the end, kept while they pass.

    Attributes:
        alpha: the false-alarm budget.
        seen: how many rows have passed.
        flagged: how many of them are flagged.
        unscored: how many hold NaN or infinity.
        first_unscored: the first of those.
        worst: the most surprising of the flagged ones, in falling order.
    """

    alpha: float
    seen: int = 0
    flagged: int = 0
    unscored: int = 0
    first_unscored: list[int] = field(default_factory=list[int])
    worst: list[mad.Explanation] = field(default_factory=list["mad.Explanation"])

    def note(self, part: mad.Result) -> None:
        """Take in the results of the next rows."""
        flagged = part.flagged(self.alpha).nonzero()[0]
        unscored = (~part.finite).nonzero()[0]
        room = NAMED_ROWS - len(self.first_unscored)
        self.first_unscored += [self.seen + int(row) for row in unscored[:room]]
        top = flagged[(-part.bits[flagged]).argsort(kind="stable")[:SHOWN]]
        self.worst += [self.explanation(part, int(row)) for row in top]
        self.worst = sorted(self.worst, key=lambda found: -found.bits)[:SHOWN]
        self.seen += len(part.bits)
        self.flagged += len(flagged)
        self.unscored += len(unscored)

    def explanation(self, part: mad.Result, row: int) -> mad.Explanation:
        """The account of a row of the next rows, with its number among all."""
        return replace(part.explain(row), index=self.seen + row)


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

    with progress("scoring", count, "rows") as report:
        for part in detector.stream(chunks):
            table = tabulate(part, summary.seen, summary.alpha)
            summary.note(part)
            yield table
            report(summary.seen, "")


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


def report(summary: Summary, detector: mad.Detector, run: Path, out: Path) -> None:
    """Prints the summary; warnings go to stderr, and all of it where stdout has the rows."""
    from cli.console import facts, say, screen

    warnings, console = screen(stderr=True), screen(stderr=out == STDOUT)
    warn(summary, detector, warnings)
    n, alpha = summary.seen - summary.unscored, summary.alpha
    facts(
        console,
        {
            "run": str(run),
            "scored": f"{n} inputs",
            "flagged": f"{summary.flagged} at alpha {alpha:g}; "
            f"of as many trusted inputs about {alpha * n:.2g} would be",
            "written": "stdout" if out == STDOUT else str(out),
        },
    )
    if summary.flagged:
        show_worst(summary, console)
    else:
        say(console, "No input was flagged.", "green")


def warn(summary: Summary, detector: mad.Detector, console: Console) -> None:
    """Says what the numbers cannot: rows left out, and an alpha nothing can reach."""
    from cli.console import say
    from cli.inputs import few

    if summary.unscored:
        rows_word = "row" if summary.unscored == 1 else "rows"
        named = few(summary.first_unscored, summary.unscored)
        say(
            console,
            f"apd: warning: {rows_word} {named} hold NaN or infinity and could not be scored.",
            "yellow",
        )
    if summary.alpha < detector.finest_alpha:
        say(
            console,
            f"apd: warning: nothing can be flagged at alpha {summary.alpha:g}, because the "
            f"smallest p-value this calibration allows is {detector.finest_alpha:.2g}.",
            "yellow",
        )


def show_worst(summary: Summary, console: Console) -> None:
    """Prints the most surprising of the flagged inputs, and the components that made them so."""
    from cli.console import say, table

    say(console, "\nMost surprising, and the components that made them so:", "bold red")
    console.print(
        table(
            ("input", "bits", "p", "predicts", "components (bits)"),
            (
                (
                    str(found.index),
                    f"{found.bits:.1f}",
                    f"{found.p_value:.2g}",
                    str(found.prediction),
                    leading(found),
                )
                for found in summary.worst
            ),
            words=True,
        )
    )


def leading(explanation: mad.Explanation) -> str:
    """The first few components of an explanation, with their bits."""
    first = explanation.components[:SHOWN_COMPONENTS]
    return ", ".join(f"{part.component} ({part.bits:.1f})" for part in first)
