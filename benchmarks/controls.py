"""Components that owe nothing to a decomposition, for the same scores: what does APD add?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

import apd
from apd.components import initialise
from apd.sites import Factors
from apd.training.exercise import moments, read
from apd.training.train import generator_of


def singular(run: apd.Run, x: Tensor) -> apd.Components:
    """Every singular direction of every weight, its own component."""
    return directions({site: [run.target.weight(site)] for site in run.sites})


def singular_apart(run: apd.Run, x: Tensor) -> apd.Components:
    """The same of what the reference reads of every weight, and of what it does not.

    So much of ours takes no training: whatever ends one sets that apart too, of untied weights.
    """
    found = moments(run.target, x, generator_of(run.config, run.config.steps))
    parts = {}
    for site, side in read(run.target, found).items():
        weight = run.target.weight(site)
        inside = side.U @ weight @ side.V
        parts[site] = [inside, weight - inside]
    return directions(parts)


def directions(parts: Mapping[str, list[Tensor]]) -> apd.Components:
    """A component of every singular direction of every part of every weight."""
    found = {site: [pair for part in own for pair in pairs(part)] for site, own in parts.items()}
    count, first = sum(map(len, found.values())), 0
    factors = {}
    for site, own in found.items():
        o, i = parts[site][0].shape
        u, v = torch.zeros(count, 1, o), torch.zeros(count, 1, i)
        for c, (left, right) in enumerate(own, first):
            u[c, 0], v[c, 0] = left, right
        factors[site] = Factors(u, v)
        first += len(own)
    return apd.Components.of(factors)


def pairs(weight: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Singular vectors, each times the root of its value, as many as the rank."""
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    rank = int(torch.linalg.matrix_rank(weight))
    return [(left[:, j] * values[j].sqrt(), right[j] * values[j].sqrt()) for j in range(rank)]


def random(run: apd.Run, x: Tensor) -> apd.Components:
    """As many random components as the run has, as it began with."""
    generator = torch.Generator().manual_seed(run.config.seed)
    return initialise(run.target, run.components.count, run.config.rank, generator)


CONTROLS: dict[str, Callable[[apd.Run, Tensor], apd.Components]] = {
    "singular_vectors": singular,
    "singular_vectors_apart": singular_apart,
    "random_components": random,
}


def control(name: str, run: apd.Run, x: Tensor) -> apd.Run:
    """The run with a control's components in place of its own; x are the inputs it was made on."""
    return replace(run, components=CONTROLS[name](run, x))
