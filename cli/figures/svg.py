"""A figure as the bytes of an SVG file: the same figure, the same bytes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.figure import Figure

STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "apd",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}
IMAGE_DPI = 200


def svg(draw: Callable[[], Figure], title: str) -> bytes:
    """What a figure is, drawn in our style whatever the user's own is."""
    stream = io.BytesIO()
    with style():
        draw().savefig(stream, format="svg", dpi=IMAGE_DPI, metadata={"Date": None, "Title": title})
    return stream.getvalue()


@contextmanager
def style() -> Generator[None]:
    """Draw as in `STYLE`; letters that the font lacks are left to whatever shows the file."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield
