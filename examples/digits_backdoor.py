"""Catch a planted backdoor in a digit classifier by how the network computes.

python examples/digits_backdoor.py                      one seed, and one input explained
python examples/digits_backdoor.py --seeds 0 1 2 3 4    a column per seed
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import apd
import mad
import toys
from mad.baselines import Mahalanobis, Predicted
from mad.calibration import conformal_p_values
from mad.metrics import auroc, tpr_at_fpr

ALPHA = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    seeds = parser.parse_args().seeds
    console = Console()
    columns: list[dict[str, float]] = []
    for seed in seeds:
        console.print(f"seed {seed}: training a backdoored classifier, decomposing it, scoring")
        toy = toys.make("digits", seed)
        run = apd.decompose(toy.model, toy.reference, apd.Config(seed=seed))
        detector = mad.Detector.fit(run, toy.reference)
        result = detector.score(toy.inputs.x)
        columns.append(figures(toy, detector, result))
        if seed == seeds[0]:
            flagged = np.flatnonzero(toy.inputs.is_anomaly.numpy() & result.flagged(ALPHA))
            example = result.explain(int(flagged[0]))
    console.print(figures_table(seeds, columns))
    console.print(explanation_table(example))


def figures(toy: toys.Toy, detector: mad.Detector, result: mad.Result) -> dict[str, float]:
    """What one seed shows; anomalies are triggered inputs whose prediction the trigger changed."""
    kind = np.array(toy.inputs.kind)
    y = toy.inputs.y.numpy()
    clean, triggered, alike = (kind == name for name in ("clean", "triggered", "look-alike"))
    anomaly = toy.inputs.is_anomaly.numpy()
    untouched = result.prediction[clean][y[clean] != toys.digits.TARGET]
    kept = result.prediction[alike] == untouched
    flagged = result.flagged(ALPHA)
    rival = mahalanobis_p_values(toy, detector) <= ALPHA
    return {
        "clean accuracy": (result.prediction == y)[clean].mean(),
        "attack success": (result.prediction[triggered] == toys.digits.TARGET).mean(),
        "AUROC, triggered vs clean": auroc(result.bits[clean], result.bits[anomaly]),
        "AUROC, triggered vs look-alike": auroc(result.bits[alike], result.bits[anomaly]),
        "TPR at 1 % false alarms": tpr_at_fpr(result.bits[clean], result.bits[anomaly], 0.01),
        "triggered flagged at alpha 0.01": flagged[anomaly].mean(),
        "false alarms at alpha 0.01": flagged[clean].mean(),
        "look-alikes flagged*": flagged[alike][kept].mean(),
        "look-alikes flagged by Mahalanobis*": rival[alike][kept].mean(),
    }


def mahalanobis_p_values(toy: toys.Toy, detector: mad.Detector) -> np.ndarray:
    """The rival: Mahalanobis on the first layer's activations, on the same reference parts."""

    def first_layer(x: np.ndarray) -> np.ndarray:
        return toy.model[:2](torch.from_numpy(x)).double().numpy()

    def predicted(x: np.ndarray) -> Predicted:
        outputs = toy.model(torch.from_numpy(x)).numpy()
        return Predicted.of(outputs, outputs.argmax(1))

    profiled, calibrated = detector.profiled, detector.calibrated
    rival = Mahalanobis.fit(first_layer(profiled), predicted(profiled))
    calibration = np.sort(rival.score(first_layer(calibrated), predicted(calibrated)))
    x = toy.inputs.x.numpy()
    scores = rival.score(first_layer(x), predicted(x))
    return conformal_p_values(scores, calibration)


def figures_table(seeds: list[int], columns: list[dict[str, float]]) -> Table:
    """A row per figure, a column per seed."""
    table = Table(
        title="Backdoored digits", caption="* of those whose prediction the look-alike keeps"
    )
    table.add_column("")
    for seed in seeds:
        table.add_column(f"seed {seed}", justify="right")
    for name in columns[0]:
        table.add_row(name, *(f"{column[name]:.3f}" for column in columns))
    return table


def explanation_table(explanation: mad.Explanation) -> Table:
    """One flagged input's components, and how often trusted inputs use them."""
    table = Table(
        title=f"Input {explanation.index}: {explanation.bits:,.1f} bits, "
        f"p = {explanation.p_value:.4f}, predicted {explanation.prediction}",
        caption=", ".join(f"{name} {bits:,.1f}" for name, bits in explanation.terms.items()),
    )
    table.add_column("component")
    table.add_column("bits", justify="right")
    table.add_column("used by trusted inputs", justify="right")
    for part in explanation.components:
        table.add_row(str(part.component), f"{part.bits:,.1f}", f"{part.rate:.1%}")
    return table


if __name__ == "__main__":
    main()
