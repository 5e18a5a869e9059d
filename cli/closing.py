"""What `apd score` prints in the end: the summary, its warnings, and the most surprising inputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cli.files import STDOUT

if TYPE_CHECKING:
    from rich.console import Console

    import mad
    from cli.summary import Summary

SHOWN_COMPONENTS = 3


def report(summary: Summary, detector: mad.Detector, run: Path, out: Path) -> None:
    """Prints the summary; warnings go to stderr, and all of it where stdout has the rows."""
    from cli.console import alerts, facts, say, screen

    warnings, console = alerts(), screen(stderr=out == STDOUT)
    warn(summary, detector, warnings)
    facts(
        console,
        {
            "run": str(run),
            "scored": f"{summary.scored} inputs",
            "flagged": f"{summary.flagged} {summary.budget()}",
            "drift": drift(summary),
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
            f"apd: warning: {rows_word} {named} hold NaN or infinity, or take the network out of "
            "range, and could not be scored.",
            "yellow",
        )
    limit = summary.limit(detector.finest_alpha)
    if limit is not None:
        say(console, f"apd: warning: {limit}.", "yellow")


def drift(summary: Summary) -> str:
    """Whether the inputs as a whole differ from those calibrated on, in words."""
    if summary.tally is None or not summary.scored:
        return "unknown, because nothing was scored"
    found = summary.tally.drift()
    scores = f"{found.direction} than" if found.drifted() else "like"
    shares = "other" if found.shifted() else "similar"
    return (
        f"as a whole {scores} the calibration inputs (p = {found.p_value:.2g}), "
        f"with {shares} predictions (p = {found.share_p_value:.2g})"
    )


def show_worst(summary: Summary, console: Console) -> None:
    """Prints the most surprising of the flagged inputs, and the components that made them so."""
    from cli.console import say, table
    from mad.reports.words import bits_text

    say(console, "\nMost surprising, and the components that made them so:", "bold red")
    console.print(
        table(
            ("input", "bits", "p", "predicts", "components (bits)"),
            (
                (
                    str(found.index),
                    bits_text(found.bits),
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
    from mad.reports.words import bits_text

    first = explanation.components[:SHOWN_COMPONENTS]
    return ", ".join(f"{part.component} ({bits_text(part.bits)})" for part in first)
