"""Components that owe nothing to a decomposition, for the same scores: what does APD add?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

import apd
from apd.components import initialise
from apd.sites import Factors
from apd.target import Target


def singular(target: Target, run: apd.Run) -> apd.Components:
    """Every singular direction of every weight, its own component."""
    ranks = {site: min(target.sites[site].shape) for site in target.sites}
    count, first = sum(ranks.values()), 0
    factors = {}
    for site, rank in ranks.items():
        o, i = target.sites[site].shape
        left, values, right = torch.linalg.svd(target.weight(site), full_matrices=False)
        u, v = torch.zeros(count, 1, o), torch.zeros(count, 1, i)
        own = slice(first, first + rank)
        u[own, 0], v[own, 0] = left.T * values[:, None].sqrt(), right * values[:, None].sqrt()
        factors[site] = Factors(u, v)
        first += rank
    return apd.Components(factors)


def random(target: Target, run: apd.Run) -> apd.Components:
    """As many random components as the run has, as it began with."""
    generator = torch.Generator().manual_seed(run.config.seed)
    return initialise(target, run.components.count, run.config.rank, generator)


CONTROLS: dict[str, Callable[[Target, apd.Run], apd.Components]] = {
    "singular_vectors": singular,
    "random_components": random,
}


def control(name: str, run: apd.Run) -> apd.Run:
    """The run with a control's components in place of its own."""
    return replace(run, components=CONTROLS[name](run.target, run))
