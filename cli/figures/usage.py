"""How often every live component is used, and how much of every weight it holds."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from cli.figures.sheet import AMOUNTS, BLUE, sheet
from cli.figures.subject import Subject
from cli.figures.words import words

SITES = 16
NAMED = 40


def missing(subject: Subject) -> str | None:
    """Why there is no such figure, where there is none."""
    return None if subject.alive() else "every component is dead"


def draw(subject: Subject) -> Figure:
    """The figure."""
    alive = subject.alive()
    components = subject.run.components
    shares = {
        site: each.double().numpy()[alive]
        for site, each in components.norm_shares(subject.run.target).items()
    }
    return of_rates(alive, subject.detector.rates[alive], shares, components.count)


def of_rates(
    alive: list[int], rates: np.ndarray, shares: dict[str, np.ndarray], count: int
) -> Figure:
    """Rates above, shares of every site's norm below, both of the live components, most used first.

    Args:
        alive: their numbers.
        rates: how often each is active.
        shares: by site, the norm of each over the weight's.
        count: how many components there are, dead ones included.
    """
    sites = list(shares)[:SITES]
    figure = sheet(9, 3.8 + 0.28 * len(sites), f"{len(alive)} live components of {count}")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 0.6 + 0.3 * len(sites)))
    edges = np.arange(len(alive) + 1) - 0.5
    upper.stairs(rates, edges, fill=True, color=BLUE)
    upper.set_ylim(bottom=0)
    upper.set_ylabel("rate of use\n(share of trusted inputs)")
    upper.yaxis.set_major_formatter(PercentFormatter(1))
    table = np.stack([shares[site] for site in sites])
    image = lower.imshow(table, cmap=AMOUNTS, vmin=0, aspect="auto", interpolation="nearest")
    left_out = f" ({len(shares) - SITES} more sites are not drawn)" * (len(shares) > SITES)
    lower.set_ylabel("site")
    lower.set_yticks(range(len(sites)), [words(site) for site in sites])
    name_components(lower, alive, left_out)
    lower.grid(visible=False)
    figure.colorbar(image, ax=[upper, lower], label="norm of component over norm of weight")
    return figure


def name_components(axis: Axes, alive: list[int], note: str) -> None:
    """Numbers under the columns where there is room for them."""
    if len(alive) <= NAMED:
        axis.set_xticks(range(len(alive)), [str(c) for c in alive], fontsize=7)
        axis.set_xlabel(f"component, the most used first{note}")
    else:
        axis.set_xlabel(f"place among the components, the most used first{note}")
