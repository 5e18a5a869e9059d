"""The plots of a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from xml.etree.ElementTree import Element

from mad.reports.model import Histogram, PValues
from mad.reports.svg import (
    Scale,
    drawing,
    element,
    label,
    line,
    linear,
    log10,
    path,
    powers,
    symlog,
    symmetric_powers,
)
from mad.reports.words import bits_text, percent

WIDTH, HEIGHT = 560.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 545.0, 12.0, 205.0


def scores(found: Histogram) -> Element:
    """The shares of the batch and of the calibration at every score."""
    x = Scale(symlog, found.edges[0], found.edges[-1], LEFT, RIGHT)
    batch, usual = shares(found.batch), shares(found.calibration or ())
    y = Scale(linear, 0.0, max((*batch, *usual, 1e-9)), BOTTOM, TOP)
    bars = [
        element(
            "rect",
            x=x(left),
            y=y(share),
            width=x(right) - x(left),
            height=BOTTOM - y(share),
            class_="batch",
        )
        for left, right, share in zip(found.edges, found.edges[1:], batch, strict=False)
        if share
    ]
    title = "Histogram of scores: this batch" + (" and the calibration inputs" if usual else "")
    return drawing(
        WIDTH,
        HEIGHT,
        title,
        [
            *bars,
            *([path(steps(found.edges, usual, x, y), "usual")] if usual else []),
            *threshold(found.threshold, x),
            *bottom(x, symmetric_powers(found.edges[0], found.edges[-1]), "bits of surprise"),
            *side(y, [0.0, y.high], percent),
        ],
    )


def shares(counts: Sequence[int]) -> list[float]:
    """Counts over their sum."""
    return [count / max(sum(counts), 1) for count in counts]


def steps(
    edges: Sequence[float], heights: Sequence[float], x: Scale, y: Scale
) -> list[tuple[float, float]]:
    """The outline of bars."""
    points = [(x(edges[0]), BOTTOM)]
    for left, right, height in zip(edges, edges[1:], heights, strict=False):
        points += [(x(left), y(height)), (x(right), y(height))]
    return [*points, (x(edges[-1]), BOTTOM)]


def threshold(bits: float | None, x: Scale) -> list[Element]:
    """A line where flags begin."""
    if bits is None:
        return []
    at = x(bits)
    near_end = at > (LEFT + RIGHT) / 2
    return [
        line(at, TOP, at, BOTTOM, "threshold"),
        label(
            at + (-5 if near_end else 5),
            TOP + 10,
            f"flagged above {bits_text(bits)}",
            "end" if near_end else "start",
        ),
    ]


def p_values(found: PValues, alpha: float | None) -> Element:
    """The share of inputs with a p-value up to p, over p; trusted inputs follow the dashed line."""
    low = min((*found.p, *found.share, alpha or 1.0, 0.1)) / 1.3
    x, y = Scale(log10, low, 1.0, LEFT, RIGHT), Scale(log10, low, 1.0, BOTTOM, TOP)
    ticks = powers(low, 1.0)
    lines = [line(x(low), y(low), x(1.0), y(1.0), "expected")]
    if found.p:
        lines.append(path([(x(p), y(s)) for p, s in staircase(found)], "found"))
    if alpha:
        lines += [
            line(x(alpha), TOP, x(alpha), BOTTOM, "threshold"),
            label(x(alpha) + 5, BOTTOM - 8, f"alpha {alpha:.3g}"),
        ]
    return drawing(
        WIDTH,
        HEIGHT,
        "Share of inputs with so small a p-value, against the p-value",
        [*lines, *bottom(x, ticks, "p-value"), *side(y, ticks, lambda value: f"{value:g}")],
    )


def staircase(found: PValues) -> list[tuple[float, float]]:
    """The corners of a share that rises at every p-value."""
    points = [(found.p[0], found.share[0])]
    for p, share in zip(found.p[1:], found.share[1:], strict=True):
        points += [(p, points[-1][1]), (p, share)]
    return [*points, (1.0, points[-1][1])]


def bottom(x: Scale, ticks: Sequence[float], name: str) -> list[Element]:
    """An axis below."""
    return [
        line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis"),
        *(line(x(value), BOTTOM, x(value), BOTTOM + 4, "axis") for value in ticks),
        *(label(x(value), BOTTOM + 17, f"{value:g}", "middle") for value in ticks),
        label((LEFT + RIGHT) / 2, BOTTOM + 36, name, "middle"),
    ]


def side(y: Scale, ticks: Sequence[float], text: Callable[[float], str]) -> list[Element]:
    """An axis at the left."""
    return [
        line(LEFT, TOP, LEFT, BOTTOM, "axis"),
        *(line(LEFT - 4, y(value), LEFT, y(value), "axis") for value in ticks),
        *(label(LEFT - 6, y(value) + 4, text(value), "end") for value in ticks),
    ]
