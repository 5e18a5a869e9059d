"""Superposition: the columns of the target's weight, and of its components'."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

import apd
from apd.recovery.mechanisms import component_norms, cosines
from cli.figures.known import COLUMNS, is_superposition
from cli.figures.panels import panels, rows_of
from cli.figures.sheet import COLOURS, GREY, SIGNED, sheet
from cli.figures.subject import Subject

PLANE = 2
PANELS, ACROSS = 24, 6


def missing(subject: Subject) -> str | None:
    """Why there is no such figure, where there is none."""
    return None if is_superposition(subject) else "the target is no toy model of superposition"


def draw(subject: Subject) -> Figure:
    """Arrows in a plane; in more dimensions, the cosines with the components that match best."""
    run = subject.run
    hidden, features = run.target.weight(COLUMNS).shape
    if hidden == PLANE:
        norms = component_norms(run.components)
        alive = sorted(subject.alive(), key=lambda c: -float(norms[c]))
        return arrows(run.target.weight(COLUMNS), run.components, alive)
    assert subject.toy is not None
    table = cosines(subject.toy.mechanisms, run.components)[:, subject.matched]
    return matrix(table, subject.matched, features)


def arrows(weight: Tensor, components: apd.Components, chosen: list[int]) -> Figure:
    """A panel of the target, one of the components' sum, and one for each component chosen.

    Args:
        weight: of the target, with two rows.
        components: of it.
        chosen: which to draw; of more than there is room for, the first.
    """
    room = chosen[: PANELS - 2]
    shown = {
        "target": weight,
        "sum of all components": components.sum()[COLUMNS],
        **{f"component {c}": components.component(c)[COLUMNS] for c in room},
    }
    left_out = f"; {len(chosen) - len(room)} smaller ones are not drawn" * (len(chosen) > len(room))
    figure = sheet(
        1.75 * ACROSS,
        1.9 * rows_of(len(shown), ACROSS) + 0.9,
        f"Columns of W, one colour per input feature, in the {PLANE} hidden dimensions\n"
        f"of the target and of every component that is not dead{left_out}",
    )
    axes = panels(figure, len(shown), ACROSS)
    reach = 1.3 * float(weight.norm(dim=0).max())
    for axis, (title, columns) in zip(axes, shown.items(), strict=True):
        panel(axis, title, columns.double().numpy(), reach)
    for feature, (x, y) in enumerate(weight.T.tolist()):
        axes[0].text(1.15 * x, 1.15 * y, str(feature), fontsize=7, ha="center", va="center")
    figure.supxlabel("hidden dimension 0 (weight)", fontsize=9)
    figure.supylabel("hidden dimension 1 (weight)", fontsize=9)
    return figure


def panel(axis: Axes, title: str, columns: np.ndarray, reach: float) -> None:
    """Every column as an arrow from the origin."""
    x, y = columns
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(x))]
    axis.axhline(0, color=GREY, lw=0.4, zorder=0)
    axis.axvline(0, color=GREY, lw=0.4, zorder=0)
    zero = np.zeros_like(x)
    axis.quiver(zero, zero, x, y, angles="xy", scale_units="xy", scale=1, color=colours, width=0.02)
    axis.set_title(title, fontsize=9)
    axis.set_xlim(-reach, reach)
    axis.set_ylim(-reach, reach)
    axis.set_aspect("equal")
    axis.grid(visible=False)


def matrix(table: Tensor, matched: list[int], features: int) -> Figure:
    """The cosine of every mechanism with the component that matches each of them best.

    Args:
        table: rows of mechanisms, columns of what matches mechanism 0, 1, ... best.
        matched: the components' numbers.
        features: how many of the mechanisms are columns of W; the others come last.
    """
    distinct = len(set(matched))
    figure = sheet(
        7, 6, f"Target columns and the components that match them best ({distinct} distinct)"
    )
    axis = figure.subplots()
    image = axis.imshow(
        table.double().numpy(), cmap=SIGNED, vmin=-1, vmax=1, interpolation="nearest"
    )
    others = ", then the hidden layer" * (len(table) > features)
    axis.set_ylabel(f"column of the target: of input feature{others}")
    axis.set_xlabel(f"best component: of input feature{others}")
    axis.grid(visible=False)
    figure.colorbar(image, ax=axis, label="cosine in the space of all weights")
    return figure
