"""Backdoored digits: each term of the account by itself, and whether the backdoor goes with names.

    python benchmarks/digits.py [--json PATH] [--seeds 0 1 ...]

Every seed is decomposed with `apd.Config()` and that seed. An anomaly is a triggered input whose
prediction the trigger changed; of look-alikes flagged, those count that keep their prediction. "The
first" is the component that most anomalies name first. The last two rows are about every anomaly
without the components that it names, and without as many others at random that are active on it
and on less than half of the trusted inputs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from kept import keep
from naming import most_named
from rich.console import Console
from rich.table import Table

import apd
import mad
import toys
from mad.calibration import conformal_p_values
from mad.metrics import auroc

ALPHA = 0.01
TERMS = ("input_bits", "attribution_bits")

Figures = dict[str, float]


def measured(toy: toys.Toy, run: apd.Run) -> Figures:
    """Score a backdoored classifier's inputs, and take out what is named."""
    detector = mad.Detector.fit(run, toy.reference)
    result = detector.score(toy.inputs.x)
    calibration = detector.score(detector.calibrated)
    anomaly = toy.inputs.is_anomaly.numpy()
    figures = {}
    for term in TERMS:
        figures |= by_term(toy, result, calibration, term)
    first, share = most_named(result.components[anomaly, 0])
    alike = np.array(toy.inputs.kind) == "look-alike"
    return (
        figures
        | {
            "triggered that name the first": share,
            "look-alikes that name it first": float((result.components[alike, 0] == first).mean()),
        }
        | without_the_first(toy, run, first)
        | without_the_named(run, detector, toy.inputs.x[toy.inputs.is_anomaly].numpy())
    )


def by_term(toy: toys.Toy, result: mad.Result, calibration: mad.Result, term: str) -> Figures:
    """One term in the place of the account, with p-values of its own."""
    kind, y = np.array(toy.inputs.kind), toy.inputs.y.numpy()
    anomaly, alike = toy.inputs.is_anomaly.numpy(), kind == "look-alike"
    before = result.prediction[(kind == "clean") & (y != toys.digits.TARGET)]
    kept = result.prediction[alike] == before
    bits = result.terms[term]
    flagged = conformal_p_values(bits, np.sort(calibration.terms[term])) <= ALPHA
    return {
        f"{term}: AUROC, triggered vs look-alike": auroc(bits[alike], bits[anomaly]),
        f"{term}: triggered flagged": float(flagged[anomaly].mean()),
        f"{term}: look-alikes flagged": float(flagged[alike][kept].mean()),
    }


def without_the_first(toy: toys.Toy, run: apd.Run, first: int) -> Figures:
    """What the trigger, and clean accuracy, come to in a network that has a component taken out."""
    with torch.no_grad():
        prediction = run.ablate([first])(toy.inputs.x).argmax(1)
    clean = torch.tensor([kind == "clean" for kind in toy.inputs.kind])
    target = prediction[toy.inputs.is_anomaly] == toys.digits.TARGET
    right = (prediction == toy.inputs.y)[clean]
    return {
        "triggered read as the target without the first": target.double().mean().item(),
        "clean accuracy without the first": right.double().mean().item(),
    }


def without_the_named(run: apd.Run, detector: mad.Detector, x: np.ndarray) -> Figures:
    """How many are read otherwise without what each names, and without as many active others.

    Others that most inputs use are not among those: without them nothing works. Where fewer are
    left, those are all.
    """
    rng = np.random.default_rng(run.config.seed)
    named, others = [], []
    active = detector.evidence(x).active
    for n, own in enumerate(detector.score(x).components):
        rest = np.setdiff1d((active[n] & (detector.rates < 0.5)).nonzero()[0], own)
        for group, removed in ((named, own), (others, rng.permutation(rest)[: len(own)])):
            outputs = run.outputs_without(x[[n]], removed.tolist())
            group.append(outputs[0].argmax() != toys.digits.TARGET)
    return {
        "read otherwise without the named": float(np.mean(named)),
        "without as many others": float(np.mean(others)),
    }


def show(seeds: list[int], found: list[Figures], console: Console) -> None:
    """A line per figure, a column per seed, and their mean."""
    table = Table(title=f"Backdoored digits, flags at alpha {ALPHA}")
    table.add_column("")
    for heading in (*(f"seed {seed}" for seed in seeds), "mean"):
        table.add_column(heading, justify="right")
    for name in found[0]:
        values = [figures[name] for figures in found]
        table.add_row(name, *(f"{value:.3f}" for value in (*values, np.mean(values))))
    console.print(table)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the figures there as they come")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: list[Figures] = []
    for seed in options.seeds:
        toy = toys.make("digits", seed)
        run = apd.decompose(toy.model, toy.reference, apd.Config(seed=seed))
        found.append(measured(toy, run))
        keep(options.json, ({"seed": s, **f} for s, f in zip(options.seeds, found, strict=False)))
    show(options.seeds, found, Console(width=100))


if __name__ == "__main__":
    main()
