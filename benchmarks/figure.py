"""The backdoors' table as a figure: ours, baselines and controls, attack by attack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from controls import CONTROLS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scores import OURS
from tables import BASELINE, VICTIM, Rows, grouped, successful

STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "apd", "font.size": 9}

# label -> (what a row says under which name, of which the best counts; marker; colour)
SERIES: dict[str, tuple[str, tuple[str, ...], str, str]] = {
    "APD": ("score", (OURS,), "o", "#c1121f"),
    "best activation baseline": ("family", ("activations",), "s", "#457b9d"),
    "best baseline": ("family", BASELINE, "_", "#1d3557"),
    **{
        name.replace("_", " "): ("score", (name,), marker, "#8d99ae")
        for name, marker in zip(CONTROLS, "x*+", strict=True)
    },
}


def draw(rows: Rows, path: Path) -> None:
    """Write an SVG with a panel for every training; the mean AUROC over an attack's victims."""
    backdoors = successful([row for row in rows if row["table"] == "backdoors"])
    panels = grouped(backdoors, "training")
    if not panels:
        return
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1 + 3.2 * len(panels), 3.6), layout="constrained")
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for ax, (training, own) in zip(axes, panels.items(), strict=True):
            panel(ax, training, own)
        axes[0].set_ylabel("AUROC, triggered against clean")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None, "Title": "Backdoors"})


def panel(ax: Axes, training: str, rows: Rows) -> None:
    """One training: attacks along the axis, a mark for every series."""
    attacks = grouped(rows, "attack")
    for label, (name, wanted, marker, colour) in SERIES.items():
        heights = [np.mean(list(best(own, name, wanted))) for own in attacks.values()]
        size = 12 if marker == "_" else 6
        ax.plot(range(len(attacks)), heights, marker, color=colour, label=label, markersize=size)
    ax.axhline(0.5, color="#cccccc", linewidth=0.6, zorder=0)
    ax.set_xticks(range(len(attacks)), list(attacks), rotation=45, ha="right")
    ax.set_title(training)


def best(rows: Rows, name: str, wanted: tuple[str, ...]) -> Iterator[float]:
    """Of every victim, the best AUROC among the wanted rows."""
    for own in grouped(rows, *VICTIM).values():
        yield max(row["auroc"] for row in own if row[name] in wanted)
