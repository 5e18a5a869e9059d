"""Whether an anomaly that is known as weights is detected, and blamed on the right weights.

    python benchmarks/planted.py [--json PATH] [--seeds 0 1 ...] [--toys NAME ...]

Every toy keeps one mechanism out of its reference. It is decomposed with `apd.Config()` and its
seed; the detector sees the reference, and then inputs a quarter of which exercise the mechanism. Of
these, the mechanism acts where leaving it out of the weights moves the outputs by more than a tenth
of their root mean square: a feature too weak to pass a threshold is no anomaly in how the network
computes. All columns but the second are about inputs in which it acts.

AUROC    of the bits
any      the same, of all inputs that exercise the mechanism
TPR      detected at 1 % false alarms
alarms   share of inputs flagged at alpha 0.01 that do not exercise the mechanism
carriers the component that holds most of the mechanism, or the residual, and any that hold `ALIKE`
         times as much at least; beside them how much the first holds: <P, M> / <M, M>
named    flagged anomalies whose first named component is a carrier; where the residual is one,
         also those with more residual bits than any component answers for
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from kept import keep
from recovery import WITH_MECHANISMS
from rich.console import Console
from rich.table import Table

import apd
import mad
import toys
from apd.recovery.mechanisms import Mechanism, inner_products
from mad.metrics import auroc, tpr_at_fpr

ALPHA = 0.01
RESIDUAL = -1
ACTS = 0.1
ALIKE = 0.5


@dataclass(frozen=True)
class Row:
    """One toy with one mechanism kept back; the columns are explained above."""

    toy: str
    seed: int
    auroc: float
    auroc_any: float
    tpr: float
    alarms: float
    flagged: float
    carriers: list[int]
    share: float
    named: float
    seconds: float


def measured(name: str, seed: int) -> Row:
    """Decompose, detect, and ask for names."""
    toy = toys.make(name, seed, planted=True)
    assert toy.planted is not None
    began = time.perf_counter()
    run = apd.decompose(toy.model, toy.reference, apd.Config(seed=seed))
    detector = mad.Detector.fit(run, toy.reference, explain="all")
    result = detector.score(toy.inputs.x.numpy())
    seconds = time.perf_counter() - began
    planted = toy.mechanisms[toy.planted]
    odd = toy.inputs.is_anomaly.numpy()
    anomaly = odd & acts(run, planted, toy.inputs.x)
    flagged = result.flagged(ALPHA)
    shares = held(run, planted)
    order = (-shares).argsort()
    carriers = [int(i) - 1 for i in order if shares[i] >= ALIKE * shares.max()]
    return Row(
        toy=name,
        seed=seed,
        auroc=auroc(result.bits[~odd], result.bits[anomaly]),
        auroc_any=auroc(result.bits[~odd], result.bits[odd]),
        tpr=tpr_at_fpr(result.bits[~odd], result.bits[anomaly], 0.01),
        alarms=float(flagged[~odd].mean()),
        flagged=float(flagged[anomaly].mean()),
        carriers=carriers,
        share=float(shares.max()),
        named=float(blames(result, carriers)[flagged & anomaly].mean()),
        seconds=seconds,
    )


def acts(run: apd.Run, mechanism: Mechanism, x: torch.Tensor) -> np.ndarray:
    """Whether the outputs are others without a mechanism."""
    target, inputs = run.target, run.target.prepare(x)
    left = {s: target.weight(s) - mechanism[s] for s in target.sites if s in mechanism}
    outputs = target(inputs)
    moved = (outputs - target.with_weights(left)(inputs)).norm(dim=1)
    return (moved > ACTS * outputs.norm(dim=1).square().mean().sqrt()).numpy()


def held(run: apd.Run, mechanism: Mechanism) -> np.ndarray:
    """How much of a mechanism the residual holds, then every component: <P, M> / <M, M>."""
    gaps = run.components.residual(run.target)
    residual = sum(
        float((gaps[site] * mechanism[site]).sum()) for site in gaps if site in mechanism
    )
    whole = sum(float(mechanism[site].square().sum()) for site in gaps if site in mechanism)
    products = inner_products(mechanism, run.components).numpy()
    return np.concatenate([[residual], products]) / whole


def blames(result: mad.Result, carriers: list[int]) -> np.ndarray:
    """Whether each input's anomaly is put down to a carrier."""
    named = np.isin(result.components[:, 0], carriers)
    if RESIDUAL in carriers:
        named |= result.terms["residual_bits"] > result.component_bits[:, 0]
    return named


def show(found: list[Row], console: Console) -> None:
    """One line per toy and seed."""
    table = Table()
    headings = (
        "seed",
        "AUROC",
        "any",
        "TPR",
        "alarms",
        "flagged",
        "carriers",
        "holds",
        "named",
        "s",
    )
    table.add_column("toy", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in found:
        table.add_row(
            row.toy,
            str(row.seed),
            f"{row.auroc:.3f}",
            f"{row.auroc_any:.3f}",
            f"{row.tpr:.3f}",
            f"{row.alarms:.3f}",
            f"{row.flagged:.3f}",
            ", ".join("residual" if c == RESIDUAL else str(c) for c in row.carriers),
            f"{row.share:.0%}",
            f"{row.named:.3f}",
            f"{row.seconds:.0f}",
        )
    console.print(table)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the rows there as they come")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--toys", nargs="+", choices=WITH_MECHANISMS, default=WITH_MECHANISMS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    console, progress = Console(width=120), Console(stderr=True)
    found: list[Row] = []
    for name in options.toys:
        for seed in options.seeds:
            found.append(measured(name, seed))
            progress.print(found[-1])
            keep(options.json, found)
    show(found, console)


if __name__ == "__main__":
    main()
