"""What `apd score` prints in the end: the summary, its warnings, and the most surprising inputs."""

from __future__ import annotations

from collections.abc import Sequence
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
        say(console, "No input was flagged." if summary.scored else "No input could be scored.")


def warn(summary: Summary, detector: mad.Detector, console: Console) -> None:
    """Says what the numbers cannot: rows left out, and an alpha nothing can reach."""
    from cli.console import say

    if summary.unscored:
        one = summary.unscored == 1
        rows, hold, take = ("row", "holds", "takes") if one else ("rows", "hold", "take")
        named = few(summary.first_unscored, summary.unscored)
        say(
            console,
            f"apd: warning: {rows} {named} {hold} NaN or infinity, or {take} the network out of "
            "range, and could not be scored.",
            "yellow",
        )
    limit = summary.limit(detector.finest_alpha)
    if limit is not None:
        say(console, f"apd: warning: {limit}.", "yellow")


def drift(summary: Summary) -> str:
    """Whether the inputs as a whole differ from those calibrated on, in words."""
    from mad.reports.content import drift_found
    from mad.reports.words import as_a_whole

    found = drift_found(summary.tally, summary.scored)
    if found is None:
        return "unknown, because nothing was scored"
    return f"as a whole {as_a_whole(found)}"


def show_worst(summary: Summary, console: Console) -> None:
    """Prints the most surprising of the flagged inputs, and the components that made them so."""
    from cli.console import head, say, table
    from mad.reports.words import UNUSED, bits_text

    why = [leading(found) for found in summary.worst]
    head(console, "Most surprising, and the components that add most to their bits:", "bold red")
    console.print(
        table(
            ("input", "bits", "p", "predicts", "components (bits)"),
            (
                (
                    str(found.index),
                    bits_text(found.bits),
                    f"{found.p_value:.2g}",
                    str(found.prediction),
                    leads,
                )
                for found, leads in zip(summary.worst, why, strict=True)
            ),
            words=-1,
        )
    )
    if any(UNUSED in leads for leads in why):
        say(console, f"{UNUSED}: weights that no trusted input uses")


def leading(explanation: mad.Explanation) -> str:
    """The first few that an explanation names, with their bits."""
    from mad.reports.words import named

    parts = ((part.component, part.bits) for part in explanation.components)
    return ", ".join(named(parts, explanation.terms["residual_bits"])[:SHOWN_COMPONENTS])


def few(first: Sequence[int], count: int) -> str:
    """Row numbers in words: the first few of them, and how many more there are."""
    more = count - len(first)
    return ", ".join(map(str, first)) + (f" and {more} more" if more else "")
