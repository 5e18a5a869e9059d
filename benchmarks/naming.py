"""Whether a backdoor has one name, and is gone without the component of that name.

    python benchmarks/naming.py [--data PATH] [--cache DIRECTORY] [--json PATH] [--seeds 0 1 2]
        [--architecture mlp] [--share 0.02] [--training obfuscated] [--attacks ...]

Victims and decompositions are those of `detection.py`, out of its cache, or made for it. Triggered
inputs are those that the trigger turned into the target class; where these are too few the attack
has failed, and its victim has no line. Beside the trained components, the same is asked of singular
vectors set apart (`controls`), which no training found.

named   triggered inputs that name the same component first, the one most often named so
left    triggered inputs that a network without this one component still takes for the target
kept    clean inputs that it reads as before
five    triggered inputs still taken for the target without the five that each of them names
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from architectures import ARCHITECTURES
from attacks import ATTACKS, TARGET, Pictures
from backdoors import enough, groups_of
from defenders import Subject
from images import load, split
from kept import keep
from rich.console import Console
from tables import headed
from trainings import TRAININGS
from victims import Recipe, Victim

import apd
import mad

CONTROL = "singular_vectors_apart"
COLUMNS = ("named", "left", "kept", "five")


@dataclass(frozen=True)
class Row:
    """One victim and what it is decomposed into; the other columns are explained above."""

    attack: str
    seed: int
    components: str
    named: float
    left: float
    kept: float
    five: float


def measured(subject: Subject) -> Iterator[Row]:
    """Score a victim's inputs, and take out what they name."""
    defender = subject.defender(subject.parts.reference)
    groups = groups_of(subject.victim, subject.parts.test)
    yield named(subject.victim, groups, "trained", defender.detector())
    yield named(subject.victim, groups, CONTROL, defender.control(CONTROL))


def named(
    found: Victim, groups: dict[str, Pictures], components: str, detector: mad.Detector
) -> Row:
    """The row of one decomposition of a victim.

    Args:
        found: the victim.
        groups: its clean and triggered pictures.
        components: what to call those of the decomposition.
        detector: of the decomposition.
    """
    clean, triggered = (found.inputs(groups[name]) for name in ("clean", "triggered"))
    run = detector.decomposition
    assert isinstance(run, apd.Run)
    by_input = detector.score(triggered).components
    first, share = most_named(by_input[:, 0])
    without = run.ablate([first])
    x = triggered.numpy()
    each = [
        run.outputs_without(x[[n]], own.tolist()).argmax() == TARGET
        for n, own in enumerate(by_input)
    ]
    same = without(clean).argmax(1) == found.predictions(groups["clean"])
    return Row(
        attack=found.recipe.attack,
        seed=found.recipe.seed,
        components=components,
        named=share,
        left=(without(triggered).argmax(1) == TARGET).double().mean().item(),
        kept=same.double().mean().item(),
        five=float(np.mean(each)),
    )


def most_named(first: np.ndarray) -> tuple[int, float]:
    """The component that most inputs name first, and the share of them that do."""
    components, counts = np.unique(first, return_counts=True)
    return int(components[counts.argmax()]), float(counts.max() / len(first))


def show(rows: list[Row], console: Console) -> None:
    """A line per victim and decomposition."""
    names = ("attack", "seed", "components", *COLUMNS)
    table = headed("backdoors without what they are named for", *names)
    for row in rows:
        figures = (f"{getattr(row, name):.3f}" for name in COLUMNS)
        table.add_row(row.attack, str(row.seed), row.components, *figures)
    console.print(table)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="an .npz of images and labels")
    parser.add_argument("--cache", type=Path, default=Path("runs/detection"))
    parser.add_argument("--json", type=Path, help="write the rows there as they come")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="mlp")
    parser.add_argument("--share", type=float, default=0.02)
    parser.add_argument("--training", choices=TRAININGS, default="obfuscated")
    parser.add_argument("--attacks", choices=ATTACKS, nargs="+", default=list(ATTACKS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    data, training = load(options.data), TRAININGS[options.training]
    console = Console()
    rows: list[Row] = []
    for attack in options.attacks:
        for seed in options.seeds:
            recipe = Recipe(options.architecture, attack, options.share, training, seed)
            subject = Subject.of(split(data, seed), recipe, apd.Config(), options.cache)
            if not enough(groups_of(subject.victim, subject.parts.test)):
                console.print(f"{attack}, seed {seed}: the attack failed")
                continue
            with torch.no_grad():
                rows.extend(measured(subject))
            keep(options.json, rows)
    show(rows, console)


if __name__ == "__main__":
    main()
