"""The rows as tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scores import OURS

ENOUGH = 0.7
NEAR = 0.005
BASELINE = ("activations", "baseline")
VICTIM = ("architecture", "attack", "poison", "training", "seed")

Rows = list[dict[str, Any]]

# heading -> (figure, which of its values is the worst)
FIGURES = {
    "AUROC": ("auroc", min),
    "TPR@1%": ("tpr_at_1fpr", min),
    "TPR@0.1%": ("tpr_at_01fpr", min),
    "FPR@95%": ("fpr_at_95tpr", max),
    "look-alike": ("auroc_vs_lookalike", min),
}


def show(rows: Rows, console: Console) -> None:
    """Whatever tables there are rows for."""
    for name, table in (
        ("backdoors", backdoor_tables),
        ("nulls", null_table),
        ("anomalies", anomaly_tables),
        ("references", reference_tables),
    ):
        own = [row for row in rows if row["table"].startswith(name)]
        for found in table(own) if own else ():
            console.print(found)


def backdoor_tables(rows: Rows) -> Iterable[Table]:
    """Every score's mean and worst over the victims whose attack succeeds, by training."""
    for training, own in grouped(successful(rows), "training").items():
        victims = grouped(own, *VICTIM)
        near = [within(victim) for victim in victims.values()]
        title = (
            f"{training}, victims of success >= {ENOUGH:.0%}: {len(victims)}; "
            f"ours within {NEAR} of the best baseline's AUROC, or above, in {np.mean(near):.0%}"
        )
        table = headed(title, "score", *(half for name in FIGURES for half in (name, "worst")))
        for score, mine in grouped(own, "score").items():
            offline = " (offline)" if mine[0]["family"] == "offline" else ""
            cells = [cell for figure in FIGURES.values() for cell in summary(mine, *figure)]
            table.add_row(score + offline, *cells)
        yield table


def within(rows: Rows) -> bool:
    """Whether ours is hardly worse than the best baseline of a victim."""
    best = max(row["auroc"] for row in rows if row["family"] in BASELINE)
    return next(row["auroc"] for row in rows if row["score"] == OURS) >= best - NEAR


def summary(rows: Rows, figure: str, worst: Any) -> tuple[str, str]:
    """The mean and the worst of a figure."""
    values = [row[figure] for row in rows if figure in row]
    return (f"{np.mean(values):.3f}", f"{worst(values):.3f}") if values else ("", "")


def null_table(rows: Rows) -> Iterable[Table]:
    """A line for every group of pictures that an innocent victim was asked about."""
    names = ("alarms", "chance", "excess", "bound", "kept", "scores drift", "classes shift")
    table = headed("innocent victims, at alpha 0.01", "victim", "pictures", *names)
    for row in rows:
        table.add_row(
            f"{row['architecture']} {row['seed']}",
            row["group"],
            f"{row['alarms']} of {row['inputs']}",
            f"{row['alarms_least']} to {row['alarms_most']}",
            f"{row['excess']:.3f}",
            f"{row['excess_bound']:.3f}",
            f"{row['kept']:.3f}",
            row["drift"]["direction"] if row["drifted"] else "no",
            "yes" if row["predictions_shifted"] else "no",
        )
    yield table


def anomaly_tables(rows: Rows) -> Iterable[Table]:
    """Every score's mean AUROC of every anomaly, by training."""
    for training, own in grouped(rows, "training").items():
        kinds = grouped(own, "anomaly")
        title = f"other anomalies, {training}: mean AUROC, victims: {len(grouped(own, *VICTIM))}"
        table = headed(title, "score", *kinds)
        for score, mine in grouped(own, "score").items():
            values = grouped(mine, "anomaly")
            table.add_row(score, *(summary(values[kind], "auroc", min)[0] for kind in kinds))
        yield table


def reference_tables(rows: Rows) -> Iterable[Table]:
    """Every score's mean AUROC with a smaller and a larger reference, by training."""
    for training, own in grouped(successful(rows), "training").items():
        fewer, more = own[0]["per_class"]
        victims = len(grouped(own, *VICTIM))
        title = f"reference pictures per class, {training}: mean AUROC, victims: {victims}"
        table = headed(title, "score", str(fewer), str(more), "difference", "largest")
        for score, mine in grouped(own, "score").items():
            means = np.mean([row["aurocs"] for row in mine], axis=0)
            gained = [row["difference"] for row in mine]
            shown = [*means, np.mean(gained), max(gained, key=abs)]
            table.add_row(score, *(f"{value:.3f}" for value in shown))
        yield table


def headed(title: str, first: str, *others: str) -> Table:
    """An empty table."""
    table = Table(title=title)
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right")
    return table


def successful(rows: Rows) -> Rows:
    """Those of a score, of victims whose attack succeeds."""
    return [r for r in rows if r["score"] != "none" and r["success"] >= ENOUGH]


def grouped(rows: Rows, *names: str) -> dict[Any, Rows]:
    """The rows by what they say under some names, in the order of the rows."""
    found: dict[Any, Rows] = {}
    for row in rows:
        key = tuple(row[name] for name in names)
        found.setdefault(key[0] if len(names) == 1 else key, []).append(row)
    return found
