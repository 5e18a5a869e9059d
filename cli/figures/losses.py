"""Faithfulness, minimality, simplicity, and k, over training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from matplotlib.figure import Figure

import apd
from cli.figures.powers import bottom, by_powers
from cli.figures.sheet import BLACK, BLUE, GREEN, GREY, ORANGE, sheet
from cli.figures.subject import Subject
from cli.figures.words import words

POINTS = 1000
FEW = 30
LOSSES = {"faithfulness": BLUE, "minimality": ORANGE, "simplicity": GREEN}

T = TypeVar("T")


def missing(subject: Subject) -> str | None:
    """Why there is no such figure, where there is none."""
    return None if subject.run.steps else "the run records no steps"


def draw(subject: Subject) -> Figure:
    """The figure."""
    return of_steps(subject.run.steps)


def of_steps(all_steps: Sequence[apd.Step]) -> Figure:
    """The losses above, k below, of one weight after the other."""
    steps = thinned(all_steps, POINTS)
    figure = sheet(7, 5, "Losses over training")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    numbers = thinned(range(1, len(all_steps) + 1), POINTS)
    marker = "o" if len(steps) < FEW else ""
    values = np.array([[getattr(step, name) for step in steps] for name in LOSSES], np.float64)
    for (name, colour), line in zip(LOSSES.items(), values, strict=True):
        upper.plot(numbers, line, color=colour, label=name, lw=1, marker=marker, ms=3)
    by_powers(upper, values, bottom(values))
    upper.set_ylabel("loss over the target's own scale")
    upper.legend()
    k = [step.active for step in steps]
    lower.plot(numbers, k, color=BLACK, lw=1, marker=marker, ms=3)
    lower.set_ylim(bottom=0)
    lower.set_ylabel("k: active\nper input")
    for site, first in beginnings(all_steps).items():
        upper.annotate(words(site), (first, 1.01), xycoords=("data", "axes fraction"), fontsize=7)
        if first > 1:
            upper.axvline(first, color=GREY, lw=0.5)
            lower.axvline(first, color=GREY, lw=0.5)
    figure.align_ylabels()
    every = stride(len(all_steps), POINTS)
    lower.set_xlabel("training step" + (f" (one in {every} is drawn)" * (every > 1)))
    return figure


def beginnings(steps: Sequence[apd.Step]) -> dict[str, int]:
    """The number of every weight's first step, counted from 1 over all of them."""
    sites = [step.site for step in steps]
    return {site: sites.index(site) + 1 for site in dict.fromkeys(sites)}


def thinned(values: Sequence[T], most: int) -> Sequence[T]:
    """Evenly many of them, the last included."""
    return values[::-1][:: stride(len(values), most)][::-1]


def stride(count: int, most: int) -> int:
    """Every how-manieth to keep, that no more than the most are kept."""
    return max(1, -(-count // most))
