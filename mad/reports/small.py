"""The small pictures inside cards and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

from mad.reports.model import Series
from mad.reports.svg import Scale, bar, drawing, label, line, linear, path
from mad.reports.words import bits_text, number, percent

WIDTH, ROW = 330.0, 20.0
NAMES, NUMBERS = 112.0, 264.0
SPARK = (120.0, 48.0)
PAIR = (110.0, 16.0)
MOST_OUTPUTS = 16


def terms(bits: Mapping[str, float | None]) -> Element:
    """A bar for the bits of every term."""
    known = [value or 0.0 for value in bits.values()]
    x = Scale(linear, min(0.0, *known), max(1e-9, *known), NAMES, NUMBERS)
    rows: list[Element] = []
    for k, (name, value) in enumerate(bits.items()):
        y = k * ROW
        rows += [
            label(NAMES - 6, y + 14, name.replace("_", " "), "end"),
            bar(x(0.0), x(value or 0.0), y + 4, ROW - 8, "batch"),
            label(NUMBERS + 6, y + 14, bits_text(value)),
        ]
    axis = line(x(0.0), 0.0, x(0.0), len(bits) * ROW, "axis")
    said = ", ".join(f"{name.replace('_', ' ')} {bits_text(v)}" for name, v in bits.items())
    return drawing(WIDTH, len(bits) * ROW, f"Bits per term: {said}", [*rows, axis])


def outputs(with_all: Sequence[float | None], without: Sequence[float | None]) -> Element | None:
    """Two bars for every output, with and without the named components; None where many."""
    if len(with_all) > MOST_OUTPUTS:
        return None
    known = [value or 0.0 for value in (*with_all, *without)]
    height, step = 84.0, (WIDTH - 10) / len(with_all)
    y = Scale(linear, min(0.0, *known), max(1e-9, *known), height - 18, 2.0)
    columns: list[Element] = []
    for k, (own, other) in enumerate(zip(with_all, without, strict=True)):
        left, width = 5 + k * step, step / 2 - 2
        columns += [
            upright(left, width, y(0.0), y(own or 0.0), "batch"),
            upright(left + width + 1, width, y(0.0), y(other or 0.0), "other"),
            label(left + width, height - 3, str(k), "middle"),
        ]
    axis = line(0.0, y(0.0), WIDTH, y(0.0), "axis")
    said = "The outputs, and those without the components named"
    return drawing(WIDTH, height, said, [*columns, axis])


def upright(x: float, width: float, y1: float, y2: float, kind: str) -> Element:
    """A column between two heights."""
    return bar(x, x + width, min(y1, y2), abs(y2 - y1), kind)


def spark(found: Series) -> Element:
    """A line through the numbers."""
    width, height = SPARK
    x = Scale(linear, 0.0, max(len(found.values) - 1.0, 1.0), 2.0, width - 2)
    y = Scale(linear, min(found.values), max(found.values), height - 3, 3.0)
    points = [(x(float(k)), y(value)) for k, value in enumerate(found.values)]
    said = f"{found.length} numbers from {number(y.low)} to {number(y.high)}"
    return drawing(width, height, said, [path(points, "found")])


def pair(rate: float | None, batch: float | None) -> Element | None:
    """A bar for the reference above one for the batch, where both are known."""
    if rate is None or batch is None:
        return None
    width, height = PAIR
    x = Scale(linear, 0.0, 1.0, 0.0, width)
    return drawing(
        width,
        height,
        f"reference {percent(rate)}, this batch {percent(batch)}",
        [
            bar(0.0, width, 0.0, height, "track"),
            bar(0.0, x(rate), 1.0, height / 2 - 2, "other"),
            bar(0.0, x(batch), height / 2 + 1, height / 2 - 2, "batch"),
        ],
    )
