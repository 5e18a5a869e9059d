"""A report as Markdown, short enough for a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mad.reports.model import Card, Report, Row, Use
from mad.reports.words import bits_text, counted, number, percent, row_named

ROWS = 20
USES = 10
SPECIAL = re.compile(r"([\\`*_\[\]<>#|~&@])")


def markdown(report: Report) -> str:
    """The verdict, the most surprising rows, the components and where it all comes from."""
    parts = [
        f"# {plain(report.title)}",
        f"**{plain(report.verdict.sentence)}**",
        "## Most surprising inputs",
        *rows(report),
        "## Components",
        table(USE_HEADERS, map(use, report.usage.components[:USES])),
        "## Where this comes from",
        table(("what", "value"), ((plain(f.name), plain(f.value)) for f in report.provenance)),
        *(f"- Left out: {plain(sentence)}" for sentence in report.left_out),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def rows(report: Report) -> list[str]:
    """The table of rows, and how many more there are."""
    cards = {card.row.index: card for card in report.cards}
    shown = report.rows[:ROWS]
    flagged = sum(found.flagged for found in shown)
    more = report.verdict.flagged - flagged
    return [
        table(ROW_HEADERS, (row(found, cards.get(found.index)) for found in shown)),
        f"{counted(more, 'more flagged input')} not shown." if more else "",
    ]


ROW_HEADERS = ("input", "bits", "p", "flagged", "predicts", "without these", "components (bits)")
USE_HEADERS = ("component", "reference uses it", "this batch", "flagged inputs", "named for")


def row(found: Row, card: Card | None) -> tuple[str, ...]:
    """One input."""
    return (
        str(found.index),
        bits_text(found.bits),
        number(found.p_value),
        "yes" if found.flagged else "no",
        str(found.prediction),
        "" if card is None else str(card.prediction_without),
        row_named(found),
    )


def use(found: Use) -> tuple[str, ...]:
    """One component."""
    return (
        str(found.component),
        percent(found.rate),
        percent(found.batch),
        percent(found.flagged),
        counted(found.named, "input"),
    )


def table(headers: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    every = [headers, ["---"] * len(headers), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in every)


def plain(text: str) -> str:
    """Words that mean nothing but themselves in Markdown, on one line."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))
