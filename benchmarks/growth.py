"""How the time of a training step grows with each size, the others held."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

import numpy as np
from measure import interleaved, ratio
from rows import Row
from targets import Problem, gaussian_mlp
from training import batch_size, our_steps, plain

FEATURES, WIDTH = 64, 128
BASE = {"components": 64, "rank": 2, "outputs": 16, "depth": 2, "batch_size": 256}
FACTORS = (0.5, 1, 2, 4)
PROJECTIONS = 8


def rows(device: str, threads: int, quick: bool) -> Iterator[Row]:
    """A sweep along each size."""
    factors = FACTORS[:3] if quick else FACTORS
    for size in BASE:
        yield from sweep(size, factors, device, threads, quick, None)
    yield from sweep("outputs", factors, device, threads, quick, PROJECTIONS)


def sweep(
    size: str,
    factors: tuple[float, ...],
    device: str,
    threads: int,
    quick: bool,
    projections: int | None,
) -> Iterator[Row]:
    """The base problem with one size multiplied, all of them timed in turns."""
    values = [int(BASE[size] * factor) for factor in factors]
    works = {}
    for value in values:
        problem = mlp(**{**BASE, size: value}, projections=projections)
        works[f"ours {value}"] = our_steps(problem, device)
        works[f"plain {value}"] = plain(
            problem.network(device), problem.inputs(batch_size(problem), device)
        )
    times = interleaved(works, device, 3 if quick else 5)
    seconds = {name: median(taken) for name, taken in times.items()}
    slope = np.polyfit(np.log(values), np.log([seconds[f"ours {v}"] for v in values]), 1)[0]
    for value in values:
        yield Row(
            section="growth",
            experiment=f"step: {size} = {value}" + (", projected" if projections else ""),
            device=device,
            threads=threads,
            ours_s=seconds[f"ours {value}"],
            plain_s=seconds[f"plain {value}"],
            times_plain=ratio(times[f"ours {value}"], times[f"plain {value}"]),
            slope=float(slope),
        )


def mlp(outputs: int, depth: int, **settings: Any) -> Problem:
    """An MLP with `depth` hidden layers."""
    return gaussian_mlp("MLP", FEATURES, *[WIDTH] * depth, outputs, **settings, active=4.0)
