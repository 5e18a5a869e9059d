"""Backdoors: how well each score tells them, from clean inputs and from look-alikes.

    python benchmarks/detection.py [--data PATH] [--quick] [--json PATH] [--cache DIRECTORY]
        [--seeds 0 1 2] [--architectures ...] [--attacks ...] [--shares ...] [--trainings ...]

Anomalies are triggered inputs that the victim takes for the target class and did not without the
trigger; look-alikes count where they keep their prediction. Every score goes up with anomaly, in a
direction fixed beforehand. The defender has the clean reference: `apd.Config()` decomposes on its
share of it, and the rest is what our detector and all baselines are fitted on, our p-values on a
part of that. Every cell is kept in the cache as it is done, and not computed again.

AUROC        triggered against clean inputs
TPR@1%       triggered inputs found at 1 % false alarms
look-alike   AUROC of triggered inputs against look-alikes
alarms       clean inputs flagged at alpha 0.01 (ours)

Without --data the pictures are scikit-learn's 8x8 digits.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from attacks import ATTACKS, TARGET, Pictures
from controls import CONTROLS, control
from images import Images, Parts, load, split
from observation import observed
from rich.console import Console
from rich.table import Table
from victims import ARCHITECTURES, TRAININGS, Recipe, Victim, victim

import apd
import mad
from apd.files import read_json, write_json
from mad.baselines import BASELINES
from mad.metrics import auroc, tpr_at_fpr

ALPHA = 0.01
FEWEST = 20
ENOUGH = 0.7
PROCESSES = 2
QUICK = {"seeds": [0], "attacks": ["patch", "blend"], "architectures": ["mlp"], "shares": [0.1]}


class Groups(NamedTuple):
    """The pictures to tell apart.

    Attributes:
        clean: of the test part, as they are.
        triggered: those the trigger turned into the target class.
        alike: look-alikes that keep their prediction.
    """

    clean: Pictures
    triggered: Pictures
    alike: Pictures


def groups_of(found: Victim, test: Images) -> Groups:
    """The groups, from pictures that no one has trained on."""
    attack = found.recipe.attacker()
    before = found.predictions(test.images)
    triggered = attack.trigger(test.images)
    turned = attack.eligible(test.labels) & (before != TARGET)
    turned &= found.predictions(triggered) == TARGET
    alike = attack.lookalike(test.images)
    kept = attack.lookalike_eligible(test.labels) & (before != TARGET)
    kept &= found.predictions(alike) == before
    return Groups(test.images, triggered[turned], alike[kept])


def cell(parts: Parts, recipe: Recipe, cache: Path) -> list[dict[str, Any]]:
    """Every score's row for one victim."""
    found = victim(parts, recipe, cache / "victims")
    groups = groups_of(found, parts.test)
    facts = {
        "architecture": recipe.architecture,
        "attack": recipe.attack,
        "poison": recipe.share,
        "training": recipe.training.name,
        "seed": recipe.seed,
        "accuracy": found.accuracy,
        "success": found.success,
        "triggered": len(groups.triggered),
        "alike": len(groups.alike),
    }
    if min(len(groups.triggered), len(groups.alike)) < FEWEST:
        return [{**facts, "score": "none"}]
    return [
        {**facts, "score": name, **figures(*scores)}
        for name, scores in scored(found, groups, parts.reference.images).items()
    ]


def figures(clean: np.ndarray, triggered: np.ndarray, alike: np.ndarray) -> dict[str, float]:
    """What one score's values on the three groups come to."""
    return {
        "auroc": auroc(clean, triggered),
        "tpr_at_1fpr": tpr_at_fpr(clean, triggered, 0.01),
        "auroc_vs_lookalike": auroc(alike, triggered),
        "auroc_of_lookalike": auroc(clean, alike),
    }


def scored(found: Victim, groups: Groups, reference: Pictures) -> dict[str, list[np.ndarray]]:
    """Every score's values on every group."""
    run = apd.decompose(found.model, found.inputs(reference), apd.Config(seed=found.recipe.seed))
    results = ours("apd", run, found, groups, reference)
    for name in CONTROLS:
        results |= ours(name, control(name, run), found, groups, reference)
    unseen = torch.as_tensor(run.unseen_rows(found.inputs(reference).numpy()))
    seen, *told = (observed(found, images) for images in (reference[unseen], *groups))
    for name, fit in BASELINES.items():
        baseline = fit(seen)
        results[name] = [baseline.score(group) for group in told]
    return results


def ours(
    name: str, run: apd.Run, found: Victim, groups: Groups, reference: Pictures
) -> dict[str, list[np.ndarray]]:
    """The detector's total and every term of it."""
    detector = mad.Detector.fit(run, found.inputs(reference), seed=found.recipe.seed)
    results = [detector.score(found.inputs(images)) for images in groups]
    terms = {f"{name}/{term}": [r.terms[term] for r in results] for term in results[0].terms}
    return {name: [r.bits for r in results], **terms}


def kept(data: Path | None, recipe: Recipe, cache: Path) -> list[dict[str, Any]]:
    """A cell's rows, from the cache if they are there."""
    torch.set_num_threads(1)
    parts = split(load(data), recipe.seed)
    path = cache / "cells" / f"{recipe}-{settings(parts)}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"rows": cell(parts, recipe, cache)})
    return read_json(path)["rows"]


def settings(parts: Parts) -> str:
    """Eight digits that change with the pictures and with our defaults."""
    digest = hashlib.sha256(apd.Config().model_dump_json().encode())
    digest.update(parts.reference.images.numpy().tobytes())
    return digest.hexdigest()[:8]


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """Every score's mean and worst over the victims whose attack succeeds, by training."""
    for training in dict.fromkeys(row["training"] for row in rows):
        own = [r for r in rows if r["training"] == training and r["success"] >= ENOUGH]
        own = [r for r in own if "auroc" in r]
        victims = len({(r["architecture"], r["attack"], r["poison"], r["seed"]) for r in own})
        table = Table(title=f"{training}: {victims} victims of success >= {ENOUGH:.0%}")
        table.add_column("score", no_wrap=True)
        for heading in ("AUROC", "worst", "TPR@1%", "worst", "look-alike", "worst"):
            table.add_column(heading, justify="right")
        for score in dict.fromkeys(r["score"] for r in own):
            mine = [r for r in own if r["score"] == score]
            cells = []
            for figure in ("auroc", "tpr_at_1fpr", "auroc_vs_lookalike"):
                values = [r[figure] for r in mine]
                cells += [f"{np.mean(values):.3f}", f"{min(values):.3f}"]
            table.add_row(score, *cells)
        console.print(table)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="an .npz of images and labels")
    parser.add_argument("--quick", action="store_true", help="two attacks, one seed")
    parser.add_argument("--json", type=Path, help="write the rows there as they come")
    parser.add_argument("--cache", type=Path, default=Path("runs/detection"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=ARCHITECTURES)
    parser.add_argument("--attacks", nargs="+", choices=ATTACKS, default=ATTACKS)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.005, 0.02, 0.1])
    parser.add_argument("--trainings", nargs="+", choices=TRAININGS, default=TRAININGS)
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK)
    return options


def main() -> None:
    """Compute what is not in the cache, two cells at a time, and print the tables."""
    options = arguments()
    console, progress = Console(width=110), Console(stderr=True)
    recipes = [
        Recipe(architecture, attack, share, TRAININGS[training], seed)
        for seed, architecture, share, training, attack in product(
            options.seeds,
            options.architectures,
            options.shares,
            options.trainings,
            options.attacks,
        )
    ]
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(PROCESSES) as pool:
        waiting = {pool.submit(kept, options.data, r, options.cache): r for r in recipes}
        for done in as_completed(waiting):
            rows += done.result()
            progress.print(f"{waiting[done]}: success {rows[-1]['success']:.2f}")
            if options.json:
                options.json.write_text(json.dumps(rows, indent=1) + "\n")
    show(rows, console)


if __name__ == "__main__":
    main()
