"""What the outputs lose when components that should not matter, or that should, are removed."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure

import apd
from apd.recovery import Losses
from cli.figures.powers import bottom
from cli.figures.sheet import BLACK, BLUE, GREEN, GREY, ORANGE, sheet
from cli.figures.subject import Subject

BINS = 50
SMALLEST = 1e-12
# which loss -> how it is drawn
LINES = {
    "sparse": (BLUE, "-"),
    "scrubbed": (GREEN, "-"),
    "anti_scrubbed": (ORANGE, "-"),
    "adversarial": (BLACK, ":"),
}


def missing(subject: Subject) -> str | None:
    """Why there is no such figure, where there is none."""
    return None if subject.alive() else "every component is dead"


def draw(subject: Subject) -> Figure:
    """The figure."""
    k = max(1, round(subject.run.active))
    losses = losses_of(subject, k)
    return histograms(losses, k, apd.recovery.output_variance(subject.run.target, subject.x))


def losses_of(subject: Subject, k: int) -> Losses:
    """Every loss of every input of the sample."""
    generator = torch.Generator().manual_seed(0)
    target, components = subject.run.target, subject.run.components
    parts = [
        apd.recovery.scrub(target, components, x, active, k, generator)
        for x, active in subject.blocks()
    ]
    return Losses(*(torch.cat(kind) for kind in zip(*parts, strict=True)))


def histograms(losses: Losses, k: int, variance: float) -> Figure:
    """The distribution of each loss over inputs.

    Args:
        losses: of every input.
        k: how many components were removed for `adversarial`.
        variance: of the outputs over inputs, drawn as a line.
    """
    names = {
        "sparse": "sparse: on the active components alone",
        "scrubbed": "scrubbed: without half of the inactive",
        "anti_scrubbed": "anti-scrubbed: without these and the active",
        "adversarial": f"adversarial: without the inactive that promise to hurt most, {k} of them",
    }
    values = {name: loss.double().numpy() for name, loss in losses._asdict().items()}
    edges = bins(np.concatenate([*values.values(), [variance]]))
    figure = sheet(
        9, 5, f"Losses of {len(losses.sparse)} trusted inputs when components are removed"
    )
    axis = figure.subplots()
    for name, (colour, line) in LINES.items():
        low = int((values[name] < edges[0]).sum())
        label = f"{names[name]}\n     mean {values[name].mean():.2g}" + (
            f"; {low} inputs are below the axis" if low else ""
        )
        counts = np.histogram(values[name], edges)[0]
        axis.stairs(counts, edges, color=colour, ls=line, lw=1.6, label=label)
        if values[name].mean() >= edges[0]:
            axis.axvline(values[name].mean(), color=colour, ls="--", lw=1)
    axis.axvline(variance, color=GREY, lw=1.2, label="variance of the outputs")
    axis.set_xscale("log")
    axis.set_xlim(edges[0], edges[-1])
    axis.set_xlabel("mean squared change of the outputs (output units squared); dashed: mean")
    axis.set_ylabel("inputs")
    figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    return figure


def bins(values: np.ndarray) -> np.ndarray:
    """Edges of equal ratio that hold every positive value but the vanishing ones."""
    least = bottom(values) or SMALLEST
    return np.geomspace(least, max(2 * least, 1.001 * float(values.max())), BINS + 1)
