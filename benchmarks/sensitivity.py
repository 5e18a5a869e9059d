"""How much of what is recovered depends on each setting: three times it, and a third of it.

    python benchmarks/sensitivity.py [--json PATH] [--seeds 100 ...] [--toys NAME ...]

`k` multiplies the number of active components per input that the defaults find by themselves for
the first weight, and gives it to all instead of having it found; `components` likewise. The figures
are the shares of mechanisms that are recovered, and of those with different components most like
them (`recovered` and `distinct` of `benchmarks/recovery.py`), means over toys and seeds, and those
of the worst of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept import keep
from recovery import WITH_MECHANISMS
from rich.console import Console
from rich.table import Table

import apd
import toys
from apd import recovery
from apd.training.sparsity import Sparsity, search_steps
from apd.training.state import component_count

TOYS = ("tms-5-2", "tms-40-10")
FACTORS = (1 / 3, 3.0)
SETTINGS = ("learning_rate", "faithfulness", "minimality", "simplicity", "separation", "exactness")


@dataclass(frozen=True)
class Row:
    """One toy, decomposed with one setting changed."""

    toy: str
    seed: int
    setting: str
    factor: float
    recovered: float
    distinct: float


def rows(names: list[str], seeds: list[int]) -> Iterator[Row]:
    """Every toy at every seed under every change."""
    for name in names:
        for seed in seeds:
            toy = toys.make(name, seed)
            run = decomposed(toy, {})
            yield Row(name, seed, "none", 1.0, *shares(toy, run))
            for setting, factor, changed in changes(run):
                yield Row(name, seed, setting, factor, *shares(toy, decomposed(toy, changed)))


def changes(run: apd.Run) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """The changed settings, by what is changed and how much."""
    config, (first, *_) = run.config, run.sites
    count = component_count(run.target.alone(first), config)
    for factor in FACTORS:
        yield "components", factor, {"components": max(1, round(factor * count))}
        yield "k", factor, {"active": factor * expected(run)}
        for setting in SETTINGS:
            yield setting, factor, {setting: factor * getattr(config, setting)}


def expected(run: apd.Run) -> float:
    """How many mechanisms an input exercises, as the search in a run's first weight found it."""
    held = run.steps[search_steps(run.config) - 1].active
    return Sparsity(held, held, held, 0.0).expected(run.config)


def decomposed(toy: toys.Toy, changed: dict[str, Any]) -> apd.Run:
    """The toy under the defaults but for what is changed."""
    return apd.decompose(toy.model, toy.reference, apd.Config.of({"seed": toy.seed, **changed}))


def shares(toy: toys.Toy, run: apd.Run) -> tuple[float, float]:
    """Of the mechanisms, those recovered, and those with another component most like them."""
    recovered = recovery.one_to_one(toy.mechanisms, run.components).recovered()
    distinct = recovery.best(toy.mechanisms, run.components).distinct
    return float(recovered.float().mean()), distinct / len(toy.mechanisms)


def show(found: list[Row], console: Console) -> None:
    """One line per setting, a third and three times beneath each other."""
    table = Table("setting", "times", "recovered", "worst", "distinct", "worst")
    for setting in dict.fromkeys(row.setting for row in found):
        for factor in sorted({row.factor for row in found if row.setting == setting}):
            own = [row for row in found if (row.setting, row.factor) == (setting, factor)]
            both = [row.recovered for row in own], [row.distinct for row in own]
            cells = [f"{f(each):.1%}" for each in both for f in (np.mean, min)]
            table.add_row(setting, f"{factor:.3g}", *cells)
    console.print(table)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the rows there as they come")
    parser.add_argument("--seeds", type=int, nargs="+", default=[100])
    parser.add_argument("--toys", nargs="+", choices=WITH_MECHANISMS, default=TOYS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    console, progress = Console(width=100), Console(stderr=True)
    found: list[Row] = []
    for row in rows(options.toys, options.seeds):
        found.append(row)
        progress.print(row)
        keep(options.json, found)
    show(found, console)


if __name__ == "__main__":
    main()
