"""What `apd score` says of all inputs in the end, gathered while their scores pass."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cli.files import STDOUT

if TYPE_CHECKING:
    from rich.console import Console

    import mad

SHOWN = 5
SHOWN_COMPONENTS = 3
NAMED_ROWS = 10


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
