"""Backdoors: how well each score tells them, from clean inputs and from look-alikes.

    python benchmarks/detection.py [--data PATH] [--quick] [--json PATH] [--figure PATH.svg]
        [--cache DIRECTORY] [--seeds 0 1 2] [--architectures ...] [--attacks ...] [--shares ...]
        [--trainings ...] [--chosen ATTACK ...] [--reference-per-class 100 300]

Anomalies are triggered inputs that the victim takes for the target class and did not without the
trigger; look-alikes count where they keep their prediction. Every score goes up with anomaly, in a
direction fixed beforehand. The defender has the clean reference: `apd.Config()` decomposes on its
share of it, and the rest is what our detector and all baselines are fitted on, our p-values on a
part of that. Baselines marked as offline look at all clean and triggered inputs at once.

Everything is kept in the cache as it is done, victims, decompositions (which go on from where they
were) and cells, and not computed again: run the same command to go on after Ctrl-C. A decomposition
is made again where `apd` has changed, and a cell where `apd`, `mad` or what computes it here has. A
cell that fails is reported and stops nothing; the exit code is then 1.

AUROC        triggered against clean inputs
TPR@1%       triggered inputs found at 1 % false alarms; @0.1% likewise
FPR@95%      clean inputs above the threshold that finds 95 % of the triggered
look-alike   AUROC of triggered inputs against look-alikes

Innocent victims are asked about clean, triggered and slightly changed pictures; victims of the
chosen attacks, at the first seed and the middle share, about other anomalies, and with references
of fewer pictures. Without --data the pictures are scikit-learn's 8x8 digits. Seeds below 100 are
for reporting, never for tuning.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from traceback import print_exc
from typing import Any, NamedTuple

import torch
from architectures import ARCHITECTURES
from attacks import ATTACKS
from backdoors import backdoors
from cells import Benchmark, Kind
from disturbed import anomalies
from kept import keep
from nulls import nulls
from parallel import side_by_side
from references import references
from rich.console import Console
from tables import Rows, show
from trainings import TRAININGS, trainings
from victims import Recipe

import apd

PROCESSES = 2
INTERRUPTED = 130
QUICK: dict[str, Any] = {
    "seeds": [0],
    "architectures": ["mlp"],
    "attacks": ["patch", "blend"],
    "shares": [0.1],
    "trainings": ["plain", "obfuscated"],
    "chosen": [],
}
QUICK_STEPS = 1000
WORDS = {"chosen": "other anomalies and reference sizes of"}


class Job(NamedTuple):
    """A victim, and the tables it has a cell in."""

    recipe: Recipe
    kinds: tuple[Kind, ...]


def jobs(options: argparse.Namespace, config: apd.Config) -> Iterator[Job]:
    """Everything there is to do: the innocent, then those under attack."""
    how = trainings(config)
    for seed, architecture in product(options.seeds, options.architectures):
        innocent = Recipe(architecture, "patch", 0.0, how["plain"], seed)
        yield Job(innocent, (Kind("nulls", nulls),))
    middle = sorted(options.shares)[len(options.shares) // 2]
    sizes = options.reference_per_class
    name = "references-{}-{}".format(*sizes)
    more = Kind("anomalies", anomalies), Kind(name, partial(references, *sizes))
    for seed, architecture, share, training, attack in product(
        options.seeds, options.architectures, options.shares, options.trainings, options.attacks
    ):
        chosen = attack in options.chosen and (seed, share) == (options.seeds[0], middle)
        recipe = Recipe(architecture, attack, share, how[training], seed)
        yield Job(recipe, (Kind("backdoors", backdoors), *(more if chosen else ())))


def work(benchmark: Benchmark, job: Job) -> None:
    """Compute the cells that are not there; exits with 1 if one of them fails."""
    failed = False
    for kind in job.kinds:
        if benchmark.read(job.recipe, kind) is None:
            try:
                benchmark.compute(job.recipe, kind)
            except Exception:
                print(f"{kind.name} of {job.recipe} failed:", file=sys.stderr)
                print_exc()
                failed = True
    sys.exit(failed)


def rows_of(benchmark: Benchmark, all_jobs: list[Job]) -> Rows:
    """The rows of all cells that are there, in the order of the jobs."""
    cells = (benchmark.read(job.recipe, kind) for job in all_jobs for kind in job.kinds)
    return [row for rows in cells for row in rows or []]


def arguments() -> argparse.Namespace:
    """The command line; with --quick, other defaults."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    many: dict[str, Any] = {"nargs": "+"}
    parser.add_argument("--data", type=Path, help="an .npz of images and labels")
    parser.add_argument("--quick", action="store_true", help="minutes; what is left out is said")
    parser.add_argument("--json", type=Path, help="write the rows there as they come")
    parser.add_argument("--figure", type=Path, help="an .svg; needs matplotlib: apd[report]")
    parser.add_argument("--cache", type=Path, default=Path("runs/detection"))
    parser.add_argument("--steps", type=int, help="of decompositions, to try things out with")
    parser.add_argument("--seeds", type=int, default=[0, 1, 2], **many)
    parser.add_argument(
        "--architectures", choices=ARCHITECTURES, default=list(ARCHITECTURES), **many
    )
    parser.add_argument("--attacks", choices=ATTACKS, default=list(ATTACKS), **many)
    parser.add_argument("--shares", type=float, default=[0.005, 0.02, 0.1], **many)
    parser.add_argument("--trainings", choices=TRAININGS, default=list(TRAININGS), **many)
    parser.add_argument("--chosen", nargs="*", choices=ATTACKS, default=["patch", "blend"])
    parser.add_argument("--reference-per-class", type=int, nargs=2, default=[100, 300])
    options, whole = parser.parse_args(), vars(parser.parse_args([]))
    if options.quick:
        parser.set_defaults(**QUICK, steps=QUICK_STEPS)
        options = parser.parse_args()
    options.left_out = left_out(whole, vars(options))
    return options


def left_out(whole: dict[str, Any], asked: dict[str, Any]) -> str:
    """What the whole benchmark has and this one has not, in words."""
    found = {name: [str(one) for one in whole[name] if one not in asked[name]] for name in QUICK}
    if asked["steps"]:
        found["steps"] = [f"beyond {asked['steps']}"]
    return "; ".join(
        f"{WORDS.get(name, name)} {' '.join(left)}" for name, left in found.items() if left
    )


def computed(benchmark: Benchmark, every: list[Job], options: argparse.Namespace) -> list[Job]:
    """Compute what is not in the cache, and keep `--json` up to date.

    Returns:
        The jobs that failed.
    """
    progress = Console(stderr=True, width=150)
    missing = [
        job for job in every if any(benchmark.read(job.recipe, kind) is None for kind in job.kinds)
    ]
    progress.print(f"{len(every) - len(missing)} of {len(every)} victims are in the cache")
    failed: list[Job] = []
    for done, (job, well) in enumerate(
        side_by_side(partial(work, benchmark), missing, PROCESSES), start=1
    ):
        progress.print(f"{done} of {len(missing)}: {job.recipe} {'done' if well else 'FAILED'}")
        if not well:
            failed.append(job)
        keep(options.json, rows_of(benchmark, every))
    return failed


def main() -> None:
    """Compute what is not in the cache, and print the tables."""
    options = arguments()
    draw = drawing(options.figure)
    torch.set_num_threads(1)
    config = apd.Config(steps=options.steps) if options.steps else apd.Config()
    benchmark = Benchmark.of(options.data, options.cache, config)
    every = list(jobs(options, config))
    try:
        failed = computed(benchmark, every, options)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(INTERRUPTED)
    rows = rows_of(benchmark, every)
    keep(options.json, rows)
    show(rows, Console(width=150))
    draw(rows)
    if options.left_out:
        print(f"Left out: {options.left_out}")
    if failed:
        sys.exit("failed: " + ", ".join(str(job.recipe) for job in failed))


def drawing(path: Path | None) -> Callable[[Rows], None]:
    """What draws the figure that is asked for; matplotlib is missed now, not after hours."""
    if path is None:
        return lambda rows: None
    from figure import draw

    return partial(draw, path=path)


if __name__ == "__main__":
    main()
