"""`apd report`: a page, a summary for a pull request, or JSON, of rows scored before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import InputError
from cli.flags import ending, explained, share
from cli.reporting import suffixed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    import mad
    from mad.reports import Gathered

SCORES = (".csv", ".jsonl", ".npz", ".parquet")


def readable(path: Path) -> Path:
    """A file of a format that scores can be read from.

    Raises:
        typer.BadParameter: its suffix is of none.
    """
    return ending(path, SCORES)


def report(
    scores: Annotated[
        Path,
        typer.Argument(metavar="SCORES", callback=readable, help="What `apd score` has written."),
    ],
    out: Annotated[
        list[Path] | None,
        typer.Option(
            callback=suffixed, help=".html, .md or .json; repeatable.  [default: report.html]"
        ),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The run they were scored by, to compare with.")
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(metavar="INPUTS.npz", help="The inputs, for the reasons of single ones."),
    ] = None,
    key: Annotated[str | None, typer.Option(help="Which array of the inputs was scored.")] = None,
    alpha: Annotated[
        float | None, typer.Option(callback=share, help="The alpha they were flagged at.")
    ] = None,
    explain: Annotated[
        str | None, typer.Option(help="The output they were explained for, as for `apd score`.")
    ] = None,
    per_class: Annotated[
        bool, typer.Option("--per-class", help="They were calibrated per class.")
    ] = False,
) -> None:
    """Make a report of scores; with the run and the inputs, also of the reasons for them.

    Example: apd report scores.csv --run runs/mine --inputs inputs.npz --out report.html
    """
    from cli import reporting, scores_file
    from cli.console import say, screen
    from mad.reports import Flagging, Gathered

    output = explained(explain)
    if inputs is not None and run is None:
        raise typer.BadParameter("--inputs needs --run, which says how they were scored")
    paths = out or [Path("report.html")]
    reporting.check(paths, scores, inputs)
    detector = None if run is None else loaded(run, output, per_class)
    gathered = Gathered(None if detector is None else detector.calibration)
    for table in scores_file.read(scores):
        gathered.note(table)
    check_flags(gathered, alpha, scores)
    x: dict[int, NDArray[np.generic]] = {}
    if detector is not None:
        check_p_values(gathered, scores)
    if detector is not None and inputs is not None:
        check_rows(gathered, scores)
        x = reporting.looked_at(gathered, detector, inputs, key)
        check_bits(gathered, detector, x, scores)
    files = {"scores": scores, "inputs": inputs, "run": run}
    made = reporting.compose(
        gathered,
        Flagging(alpha=alpha, fdr=None),
        detector,
        x,
        files,
        missing(run, inputs, alpha),
    )
    reporting.write(made, paths)
    say(screen(), made.verdict.sentence)
    reporting.say_written(paths, stderr=False)


def loaded(run: Path, output: str | int | None, per_class: bool) -> mad.Detector:
    """The detector of a run, as the scores were written with it."""
    from cli.runs import detector_in

    detector = detector_in(run)
    if output is not None:
        detector = detector.explaining(output)
    return detector.calibrating("per-class") if per_class else detector


def missing(run: Path | None, inputs: Path | None, alpha: float | None) -> list[str]:
    """What the report leaves out for want of files, and how to have it, a sentence each."""
    wanted = {
        "The calibration inputs' scores, drift, and how often the reference uses components: "
        "name the run with --run.": run,
        "The reasons of single inputs, and how often this batch uses components: name the inputs "
        "with --inputs.": inputs,
        "The expected false alarms and the threshold: name the alpha with --alpha.": alpha,
    }
    return [sentence for sentence, given in wanted.items() if given is None]


def check_rows(gathered: Gathered, scores: Path) -> None:
    """Refuses scores of some of the inputs only, where others are to be drawn to compare with.

    Raises:
        InputError: rows are missing or out of order.
    """
    if not gathered.consecutive:
        raise InputError(
            f"{scores} does not have the rows of all inputs in order; "
            "give the file that `apd score` wrote, or leave out --inputs"
        )


def check_flags(gathered: Gathered, alpha: float | None, scores: Path) -> None:
    """Refuses an alpha that the rows were not flagged at.

    Raises:
        InputError: it flags another number of rows.
    """
    if alpha is None:
        return
    flagged = sum(count for p, count in gathered.p_values.items() if p <= alpha)
    if flagged != gathered.flagged:
        raise InputError(
            f"at alpha {alpha:g}, {flagged} rows of {scores} would be flagged, and "
            f"{gathered.flagged} are; give the alpha it was written with"
        )


def check_p_values(gathered: Gathered, scores: Path) -> None:
    """Refuses a run whose calibration does not give the p-values of the rows.

    Raises:
        InputError: so it is.
    """
    if gathered.strange:
        raise InputError(
            f"{scores} holds other p-values than this run's; give the run, and --explain and "
            "--per-class, as it was written with"
        )


def check_bits(
    gathered: Gathered, detector: mad.Detector, x: dict[int, NDArray[np.generic]], scores: Path
) -> None:
    """Refuses inputs that do not score as the rows say.

    Raises:
        InputError: so it is.
    """
    top = gathered.top
    at = [k for k, row in enumerate(top.get("index", ())) if int(row) in x]
    if at and not same(detector.score(x_of(x, top["index"][at])).bits, top["score_bits"][at]):
        raise InputError(f"the inputs do not score as {scores} says; give those it was written for")


def x_of(x: dict[int, NDArray[np.generic]], rows: NDArray[np.int64]) -> NDArray[np.generic]:
    """The inputs of some rows."""
    import numpy as np

    return np.stack([x[int(row)] for row in rows])


def same(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    """Whether two columns are equal up to the last digits of a file."""
    import numpy as np

    return bool(np.allclose(first, second, rtol=1e-6, atol=1e-6, equal_nan=True))
