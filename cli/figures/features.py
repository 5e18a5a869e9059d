"""Each mechanism where it is exercised alone: the loss, and how many components it takes."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from cli.figures.powers import bottom, by_powers
from cli.figures.sheet import BLUE, GREY, ORANGE, sheet
from cli.figures.subject import Subject

MIDDLE = (0.1, 0.9)
DEPTH = 1e-3


def missing(subject: Subject) -> str | None:
    """Why there is no such figure, where there is none."""
    if subject.toy is None:
        return "the target is no toy whose mechanisms are known"
    if subject.alone.shape[1] == 0:
        return "which mechanisms an input of this toy exercises is not known"
    if not bool(subject.alone.any()):
        return "no input exercises one mechanism and no other"
    return None


def draw(subject: Subject) -> Figure:
    """The figure."""
    return by_mechanism(subject.sparse_losses, subject.active.sum(1), subject.alone)


def by_mechanism(losses: Tensor, counts: Tensor, alone: Tensor) -> Figure:
    """Mean loss with the middle four fifths of inputs above, mean number of components below.

    Args:
        losses: of every input.
        counts: how many components are active on it.
        alone: which mechanism it exercises alone, bool [n, k].
    """
    own = [rows.nonzero().flatten() for rows in alone.T]
    shown = [i for i, rows in enumerate(own) if len(rows)]
    each = [losses[own[i]].double().numpy() for i in shown]
    means = np.array([values.mean() for values in each])
    low, high = np.array([np.quantile(values, MIDDLE) for values in each]).T
    least = max(bottom(np.concatenate([means, low])), DEPTH * bottom(means))
    title = f"{len(shown)} of {len(own)} mechanisms, each on the inputs that exercise it alone"
    figure = sheet(9, 5.2, title)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    upper.vlines(shown, low, high, color=GREY, lw=1.2)
    upper.plot(shown, means, "o", color=BLUE, ms=4)
    by_powers(upper, np.concatenate([means, low]), least)
    upper.set_xlim(-0.5, len(own) - 0.5)
    upper.set_ylabel("mean squared error on the active\ncomponents alone (output units²)")
    upper.set_title("dots: mean over inputs; bars: their middle 80 %", fontsize=9, loc="left")
    lower.plot(
        shown, [float(counts[own[i]].double().mean()) for i in shown], "o", color=ORANGE, ms=4
    )
    lower.axhline(1, color=GREY, lw=1, ls="--", zorder=0)
    lower.set_ylim(bottom=0)
    lower.set_ylabel("active components\nper input (mean)")
    lower.set_xlabel("mechanism")
    lower.xaxis.get_major_locator().set_params(integer=True)
    return figure
