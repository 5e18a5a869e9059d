"""`apd score`: how surprising every input's reasons are, in bits, with a p-value and a flag."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import files
from cli.closing import report
from cli.errors import InputError
from cli.files import STDOUT
from cli.flags import ending, explained, flagging, of_a_day, share
from cli.packages import refuse_missing
from cli.reporting import suffixed
from cli.scoring import opened, scored
from cli.speech import Json, Quiet, put
from cli.summary import Discoveries, Summary

if TYPE_CHECKING:
    from mad.reports import Flagging

ANOMALIES = 3
PARQUET = ".parquet"


def written(path: Path) -> Path:
    """A file of a format that can be written.

    Raises:
        typer.BadParameter: its suffix is of none.
    """
    from cli.rows import WRITERS

    return path if path == STDOUT else ending(path, WRITERS, " (or be '-' for CSV on stdout)")


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
        float | None,
        typer.Option(
            callback=share, help="Share of false alarms on inputs you trust.  [default: 0.01]"
        ),
    ] = None,
    alarms_per_day: Annotated[
        float | None, typer.Option(help="Instead: how many false alarms a day are welcome ...")
    ] = None,
    inputs_per_day: Annotated[
        float | None, typer.Option(help="... where so many inputs come in.")
    ] = None,
    fdr: Annotated[
        float | None,
        typer.Option(
            callback=share,
            help="Instead: share of false ones among the flagged of this file, whose scores are "
            "then held in memory.",
        ),
    ] = None,
    per_class: Annotated[
        bool,
        typer.Option("--per-class", help="Calibrate within every predicted class large enough."),
    ] = False,
    explain: Annotated[
        str | None,
        typer.Option(
            help="The output whose reasons count: predicted, all or an index.  "
            "[default: the run's own, which is predicted]"
        ),
    ] = None,
    reports: Annotated[
        list[Path] | None,
        typer.Option(
            "--report",
            metavar="FILE",
            callback=suffixed,
            help="Also a report for people: .html, .md or .json; repeatable.",
        ),
    ] = None,
    fail_on_anomaly: Annotated[
        bool,
        typer.Option("--fail-on-anomaly", help="Exit 3 where a row is flagged or unscorable."),
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score inputs in bits of surprise, and flag anomalies.

    More bits: the network's output came about for less usual reasons. The p-value is calibrated on
    inputs you trust; a row is flagged where it is at most alpha.

    Example: apd score inputs.npz --alpha 0.01 --out scores.jsonl --fail-on-anomaly
    """
    from cli import reporting, rows, scores_file
    from mad.calibration import name_of
    from mad.reports import Gathered

    output = explained(explain)
    summary = flagging(alpha, alarms_per_day, inputs_per_day, fdr)
    if json and out == STDOUT:
        raise typer.BadParameter("--json and --out - both take stdout; give one")
    if out.suffix == PARQUET:
        refuse_missing("writing .parquet", "pyarrow")
    if out != STDOUT:
        files.check(out, inputs)
        files.check_replaced(out, scores_file.is_one, "scores file")
    paths = reports or []
    reporting.check(paths, out, inputs)
    run, detector, count, chunks = opened(run, inputs, key)
    if output is not None:
        detector = detector.explaining(output)
    if per_class:
        detector = detector.calibrating("per-class")
    if alarms_per_day is not None and inputs_per_day is not None:
        summary.alpha = of_a_day(alarms_per_day, inputs_per_day, name_of(detector.calibration))
    gathered = Gathered(detector.calibration)
    with closing(scored(detector, chunks, count, summary)) as tables:
        passed = reporting.noted(tables, gathered) if paths else tables
        if out == STDOUT:
            rows.to_stdout(passed)
        else:
            rows.write(passed, out)
    report(summary, detector, run, out)
    if json:
        put({"run": str(run), "written": str(out), **summary.told()})
    if paths:
        sources = {"scores": None if out == STDOUT else out, "inputs": inputs, "run": run}
        x = reporting.looked_at(gathered, detector, inputs, key)
        made = reporting.compose(gathered, flagging_of(summary), detector, x, sources, [])
        reporting.write(made, paths)
        reporting.say_written(paths, stderr=out == STDOUT)
    if fail_on_anomaly:
        judge(summary)


def judge(summary: Summary) -> None:
    """Ends as `--fail-on-anomaly` asks.

    Raises:
        typer.Exit: a row is flagged, or could not be scored.
        InputError: none could have been, so that none is means nothing.
    """
    if summary.flagged or summary.unscored:
        raise typer.Exit(ANOMALIES)
    if summary.unreachable == summary.scored:
        raise InputError("--fail-on-anomaly finds nothing where nothing can be flagged")


def flagging_of(summary: Summary) -> Flagging:
    """What was flagged, as a report says it."""
    from mad.reports import Flagging

    fdr = summary.fdr if isinstance(summary, Discoveries) else None
    return Flagging(alpha=summary.alpha, fdr=fdr)
