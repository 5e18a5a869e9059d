"""SVG elements and axes: plain trees, escaped when they are written, coloured by the page's CSS."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from xml.etree.ElementTree import Element, tostring


def element(tag: str, *children: Element, text: str | None = None, **attributes: object) -> Element:
    """An element; `class_` is written class, an underscore within a name a hyphen."""
    made = Element(
        tag, {key.rstrip("_").replace("_", "-"): short(value) for key, value in attributes.items()}
    )
    made.text = text
    made.extend(children)
    return made


def short(value: object) -> str:
    """An attribute's value, numbers to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def drawing(width: float, height: float, title: str, children: Iterable[Element]) -> Element:
    """A picture that says what it shows."""
    return element(
        "svg",
        element("title", text=title),
        *children,
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        role="img",
    )


def written(tree: Element) -> str:
    """The markup of a tree."""
    return tostring(tree, encoding="unicode")


def label(x: float, y: float, text: str, anchor: str = "start") -> Element:
    """Words in a picture."""
    return element("text", x=x, y=y, text_anchor=anchor, text=text)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Element:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def bar(x1: float, x2: float, y: float, height: float, kind: str) -> Element:
    """A bar between two places, whichever of them is the greater."""
    return element("rect", x=min(x1, x2), y=y, width=abs(x2 - x1), height=height, class_=kind)


def path(points: Iterable[tuple[float, float]], kind: str) -> Element:
    """A line through points."""
    return element("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), class_=kind)


def log10(value: float) -> float:
    """Powers of ten at even steps."""
    return math.log10(value)


def symlog(value: float) -> float:
    """Even steps near 0, powers of ten far from it: asinh(value / 10)."""
    return math.asinh(value / 10)


def linear(value: float) -> float:
    """Even steps."""
    return value


@dataclass(frozen=True)
class Scale:
    """Numbers from low to high as places from start to end.

    Attributes:
        by: what is even along it.
    """

    by: Callable[[float], float]
    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a number; one beyond the ends is put at them."""
        low, high = self.by(self.low), self.by(self.high)
        share = (self.by(min(max(value, self.low), self.high)) - low) / ((high - low) or 1.0)
        return self.start + share * (self.end - self.start)


def powers(low: float, high: float) -> list[float]:
    """The powers of ten between two positive numbers."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    return [10.0**k for k in range(first, last + 1, max(1, (last - first) // 6 + 1))]


def symmetric_powers(low: float, high: float) -> list[float]:
    """0, and powers of ten on either side of it."""
    reach = max(abs(low), abs(high), 10.0)
    step = powers(10.0, reach)
    found = [-value for value in reversed(step)] + [0.0] + step
    return [value for value in found if low <= value <= high]
