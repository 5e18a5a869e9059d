"""`apd evaluate`: how well a run tells labelled anomalies, beside simple baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import InputError
from cli.flags import ALPHA, share
from cli.labels import by_kind, kinds_of, labels_of, refuse_one_kind
from cli.speech import Json, Quiet, put

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    import mad
    from mad.metrics import Estimate

SCORE = "bits"
# rows of mad.baselines.BASELINES
BASELINES = (
    "confidence",
    "energy",
    "mahalanobis_last_layer",
    "nearest_neighbours_last_layer",
    "ted",
    "class_mahalanobis_input_effects",
    "input_density",
)

# name in JSON -> at the head of a column
METRICS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "tpr_at_1_percent_fpr": "TPR at 1 %",
    "tpr_at_0.1_percent_fpr": "TPR at 0.1 %",
    "fpr_at_95_percent_tpr": "FPR at 95 %",
}

NAME_WIDTH = 20
METRIC_WIDTH = 12

Estimates = dict[str, dict[str, "Estimate"]]


def evaluate(
    inputs: Annotated[
        Path, typer.Argument(metavar="INPUTS.npz", help="The array x, or the one of --key.")
    ],
    labels: Annotated[
        str, typer.Option(metavar="KEY", help="The array that is 1 or true for anomalies.")
    ] = "is_anomaly",
    run: Annotated[
        Path | None, typer.Option(help="The run directory.  [default: the newest under ./runs]")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Which array of the file to score.")] = None,
    alpha: Annotated[
        float, typer.Option(callback=share, help="Share of false alarms on inputs you trust.")
    ] = ALPHA,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure how well labelled anomalies are told, beside simple baselines.

    The baselines are fitted to the inputs that the run has profiled. Intervals hold 95 % of
    bootstrap draws.

    Example: apd evaluate inputs.npz --labels is_anomaly --json
    """
    from cli.scoring import opened
    from cli.summary import say_too_fine

    truth = labels_of(inputs, labels)
    given = opened(run, inputs, key)
    if len(truth) != given.rows:
        raise InputError(f"{inputs} has {given.rows} inputs and {len(truth)} labels in {labels!r}")
    x, result = scored(given.detector, given.chunks, given.rows)
    finite = result.finite
    refuse_one_kind(truth[finite], inputs, labels)
    say_unscored(finite)
    say_too_fine(alpha, given.detector.finest_alpha)
    found = estimated(all_scores(given.detector, result, x), truth[finite])
    flagged = result.p_value[finite] <= alpha
    kinds = kinds_of(inputs, given.rows)
    facts = {
        "run": str(given.run),
        "inputs": str(inputs),
        "clean": int((~truth[finite]).sum()),
        "anomalies": int(truth[finite].sum()),
        "not_scored": int((~finite).sum()),
        "alpha": alpha,
        "clean_flagged": int(flagged[~truth[finite]].sum()),
        "anomalies_flagged": int(flagged[truth[finite]].sum()),
    }
    if json:
        put({**facts, "scores": as_numbers(found)})
    else:
        show(facts, by_kind(kinds[finite], flagged), found)


def scored(
    detector: mad.Detector, chunks: Iterator[NDArray[np.generic]], count: int
) -> tuple[NDArray[np.generic], mad.Result]:
    """The finite inputs, and the scores of all."""
    import numpy as np

    from cli.console import progress

    x = np.concatenate(list(chunks))
    with progress("scoring", count, "rows") as advance:
        result = detector.score(x, lambda done: advance(done, ""))
    return x[result.finite], result


def say_unscored(finite: NDArray[np.bool_]) -> None:
    """Warns of rows left out."""
    from cli.console import alerts, say

    count = int((~finite).sum())
    if count:
        what = "1 row was" if count == 1 else f"{count} rows were"
        say(
            alerts(),
            f"apd: warning: {what} not scored, for NaN or infinity or because the network was out "
            "of range; the figures leave that out.",
            "yellow",
        )


def all_scores(
    detector: mad.Detector, result: mad.Result, x: NDArray[np.generic]
) -> dict[str, NDArray[np.float64]]:
    """The total, its terms, and the baselines, of the finite inputs; higher is more anomalous."""
    from cli.observation import observed
    from cli.runs import decomposition_of
    from mad import baselines

    run = decomposition_of(detector)
    usual, seen = observed(run, detector.profiled), observed(run, x)
    chosen = [name for name in BASELINES if x.dtype.kind == "f" or "input_effects" not in name]
    return {
        SCORE: result.bits[result.finite],
        **{name: bits[result.finite] for name, bits in result.terms.items()},
        **{name: baselines.BASELINES[name](usual).score(seen) for name in chosen},
    }


def estimated(scores: dict[str, NDArray[np.float64]], truth: NDArray[np.bool_]) -> Estimates:
    """Every metric of every score, with its interval."""
    from mad.metrics import area_under_roc, estimates, fpr_at, mean_precision, tpr_at

    functions = (area_under_roc, mean_precision, tpr_at(0.01), tpr_at(0.001), fpr_at(0.95))
    metrics = dict(zip(METRICS, functions, strict=True))
    return {
        name: estimates(values[~truth], values[truth], metrics) for name, values in scores.items()
    }


def as_numbers(found: Estimates) -> dict[str, dict[str, dict[str, float]]]:
    """The estimates as JSON has them: value, low and high."""
    return {
        name: {metric: dict(vars(estimate)) for metric, estimate in row.items()}
        for name, row in found.items()
    }


def show(
    facts: Mapping[str, object], kinds: Mapping[str, tuple[int, int]], found: Estimates
) -> None:
    """Prints what came of it, as many metrics as the terminal is wide enough for."""
    from cli import console

    screen = console.screen()
    console.facts(
        screen,
        {
            "run": str(facts["run"]),
            "inputs": f"{facts['anomalies']} anomalies, {facts['clean']} others",
            "flagged": f"at alpha {facts['alpha']:g}: {facts['anomalies_flagged']} of the "
            f"anomalies, {facts['clean_flagged']} of the others",
            **{f"flagged, {kind}": f"{some} of {all_}" for kind, (some, all_) in kinds.items()},
        },
    )
    console.say(screen, "")
    shown = list(METRICS)[: max(1, (screen.width - NAME_WIDTH) // METRIC_WIDTH)]
    room = screen.width - len(shown) * METRIC_WIDTH
    screen.print(
        console.table(
            ("score", *(METRICS[metric] for metric in shown)),
            (
                [folded(name, room), *(in_words(row[metric]) for metric in shown)]
                for name, row in found.items()
            ),
            words=0,
        )
    )
    hidden = list(METRICS.values())[len(shown) :]
    if hidden:
        console.say(screen, f"Not shown: {', '.join(hidden)}.")


def folded(name: str, width: int) -> str:
    """A name in lines of at most so many letters, broken behind underscores."""
    lines = wrap(name.replace("_", "_ "), max(1, width))
    return "\n".join(line.replace(" ", "") for line in lines)


def in_words(estimate: Estimate) -> str:
    """An estimate above its interval."""
    return f"{estimate.value:.3f}\n{estimate.low:.2f}-{estimate.high:.2f}"
