"""What one configuration finds in every toy whose mechanisms are known.

    python benchmarks/recovery.py [--quick] [--json PATH] [--seeds 0 1 ...] [--toys NAME ...]
                                  [--known-sparsity]

Every toy is decomposed with `apd.Config()` and its seed, nothing else. With `--known-sparsity` each
toy's own number of mechanisms and of mechanisms per input is given as well, which tells what the
choice of these two costs from what the rest does.

recovered  mechanisms with a component of their own, matched one to one over all weights: cosine at
           least 0.95, length ratio within 0.8 to 1.25
distinct   different components among the mechanisms' most similar ones
MMCS, ML2R cosine with, and length relative to, the most similar component, means over mechanisms
alive      components that are not zero
active     of those, per input on average; `exercised` is how many mechanisms an input uses
error      of the outputs on the active components alone, over the outputs' variance
residual   norm of what no component owns, relative to the weights'
scrubbed   mechanisms on whose inputs the loss without a random half of the inactive components is
           at most twice that on the active components alone (`apd.recovery.scrub`)
APD, SPD   MMCS and ML2R as Braun et al. 2025 and Bushnaq et al. 2025 report them

Seconds are a core's; two toys are decomposed side by side. The mechanisms of the residual MLPs are
a convention about who owns the cross-talk between functions (`toys/residual_mlp.py`), so there
`distinct`, `error` and `scrubbed` tell more than `recovered`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import torch
from kept import keep
from rich.console import Console
from rich.table import Table
from torch import Tensor

import apd
import toys
from apd import recovery
from apd.usage import per_input

# MMCS/ML2R of the published tables: of APD, arXiv 2501.14926, and of SPD, arXiv 2506.20790
PUBLISHED = {
    "tms-5-2": (".998/.893", "1.000/.993"),
    "tms-40-10": (".996/.935", "1.000/1.010"),
    "tms-5-2-identity": ("", "1.000/.992"),
    "tms-40-10-identity": ("", "1.000/1.031"),
}
WITH_MECHANISMS = tuple(name for name in toys.TOYS if name not in ("digits", "boolean-trained"))
QUICK = ("tms-5-2", "tms-40-10")
SAMPLE = 2048
WIDTH = 165
SPARE = 2.5
PROCESSES = 2
SCRUBBED_AT_MOST = 2.0


@dataclass(frozen=True)
class Row:
    """One toy decomposed once; the columns are explained above."""

    toy: str
    seed: int
    mechanisms: int
    recovered: int
    distinct: int
    mmcs: float
    ml2r: float
    alive: int
    active: float
    exercised: float
    error: float
    residual: float
    scrubbed: int
    seconds: float


def measured(name: str, seed: int, known_sparsity: bool) -> Row:
    """Decompose one toy and compare."""
    toy = toys.make(name, seed)
    settings = sparsity_of(toy) if known_sparsity else {}
    began = time.perf_counter()
    run = apd.decompose(toy.model, toy.reference, apd.Config(seed=seed, **settings))
    seconds = time.perf_counter() - began
    nearest = recovery.best(toy.mechanisms, run.components)
    own = recovery.one_to_one(toy.mechanisms, run.components)
    x = run.target.prepare(toy.inputs.x[:SAMPLE])
    active = recovery.active_components(run, x)
    exercised = toys.active(toy, toy.inputs.x[:SAMPLE])
    return Row(
        toy=name,
        seed=seed,
        mechanisms=len(toy.mechanisms),
        recovered=int(own.recovered().sum()),
        distinct=nearest.distinct,
        mmcs=nearest.mmcs,
        ml2r=nearest.ml2r,
        alive=int((~recovery.dead(run.components)).sum()),
        active=per_input(active),
        exercised=per_input(exercised),
        error=float(recovery.sparse_error(run.target, run.components, x, active)),
        residual=recovery.faithfulness(run.target, run.components).overall,
        scrubbed=scrubbed(run, x, active, exercised),
        seconds=seconds,
    )


def scrubbed(run: apd.Run, x: Tensor, active: Tensor, exercised: Tensor) -> int:
    """On how many mechanisms' inputs scrubbing costs no more than leaving out all that is inactive.

    Args:
        run: the decomposition.
        x: inputs [n, ...].
        active: their active components [n, C].
        exercised: their mechanisms [n, k].
    """
    generator = torch.Generator().manual_seed(run.config.seed)
    removed = recovery.random_half(~active, generator)
    without = recovery.losses_without(run.target, run.components, x, removed)
    alone = recovery.sparse_losses(run.target, run.components, x, active)
    of = exercised.to(x).T
    return int((of @ without <= SCRUBBED_AT_MOST * (of @ alone)).sum())


def sparsity_of(toy: toys.Toy) -> dict[str, float]:
    """The settings that the toy's own mechanisms suggest."""
    return {
        "active": per_input(toys.active(toy, toy.reference[:SAMPLE])),
        "components": max(20, round(SPARE * len(toy.mechanisms))),
    }


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Every toy at every seed, some side by side, those of most weights first."""
    largest_first = sorted(options.toys, key=weights, reverse=True)
    names, seeds = zip(*product(largest_first, options.seeds), strict=True)
    work = partial(measured, known_sparsity=options.known_sparsity)
    with ProcessPoolExecutor(PROCESSES, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield from pool.map(work, names, seeds)


def weights(toy: str) -> int:
    """How many numbers a toy's network is made of: about how long it takes."""
    return sum(p.numel() for p in toys.catalogue.recipe(toy).architecture(0).parameters())


def show(found: list[Row], console: Console) -> None:
    """One line per toy and seed, the published figures beside."""
    table = Table()
    for heading in ("toy", "seed", "recovered", "distinct", "MMCS", "ML2R", "alive"):
        table.add_column(heading, justify="left" if heading == "toy" else "right", no_wrap=True)
    for heading in ("active", "exercised", "error", "residual", "scrubbed", "s", "APD", "SPD"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in found:
        table.add_row(
            row.toy,
            str(row.seed),
            f"{row.recovered} of {row.mechanisms}",
            str(row.distinct),
            f"{row.mmcs:.3f}",
            f"{row.ml2r:.3f}",
            str(row.alive),
            f"{row.active:.1f}",
            f"{row.exercised:.1f}",
            f"{row.error:.1%}",
            f"{row.residual:.1%}",
            str(row.scrubbed),
            f"{row.seconds:.0f}",
            *PUBLISHED.get(row.toy, ("", "")),
        )
    console.print(table)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help=f"{', '.join(QUICK)}, one seed")
    parser.add_argument("--json", type=Path, help="write the rows there as they come")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--toys", nargs="+", choices=WITH_MECHANISMS, default=WITH_MECHANISMS)
    parser.add_argument("--known-sparsity", action="store_true", help="give C and k of each toy")
    options = parser.parse_args()
    if options.quick:
        options.toys, options.seeds = QUICK, options.seeds[:1]
    return options


def main() -> None:
    """Measure, and print the table."""
    options = arguments()
    console, progress = Console(width=WIDTH), Console(stderr=True)
    found: list[Row] = []
    for row in rows(options):
        found.append(row)
        progress.print(f"{row.toy}, seed {row.seed}: {row.recovered} of {row.mechanisms}")
        keep(options.json, found)
    show(sorted(found, key=lambda row: (options.toys.index(row.toy), row.seed)), console)


if __name__ == "__main__":
    main()
