"""The detector as an Inspect scorer, and AUROC as an Inspect metric; needs inspect-ai."""

# What is not installed is not typed.
# pyright: reportMissingImports=false, reportUnknownParameterType=false
# pyright: reportUntypedFunctionDecorator=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mad import metrics
from mad.checks import as_array, as_type
from mad.detector import load
from mad.result import Explanation

try:
    from inspect_ai.scorer import (
        Metric,
        SampleScore,
        Score,
        Scorer,
        Target,
        mean,
        metric,
        scorer,
    )
    from inspect_ai.solver import TaskState
except ImportError as error:
    raise ImportError(
        "mad.adapters.inspect_ai needs inspect-ai; install it with `pip install inspect-ai`"
    ) from error

KEY = "x"
LABEL = "is_anomaly"
NAMED = 3


def from_metadata(state: TaskState) -> Any:
    """The input that a sample's metadata holds as `x`."""
    return state.metadata[KEY]


@metric
def auroc(label: str = LABEL) -> Metric:
    """The probability that an anomaly scores above another sample, ties counting half.

    NaN where not both kinds are there, or samples are not labelled.

    Args:
        label: what says in a sample's metadata whether it is an anomaly.
    """

    def compute(scores: list[SampleScore]) -> float:
        labels = np.array([(score.sample_metadata or {}).get(label) for score in scores])
        bits = np.array([score.score.as_float() for score in scores])
        clean, anomalous = bits[labels == False], bits[labels == True]  # noqa: E712
        known = len(clean) + len(anomalous) == len(scores)
        both = len(clean) > 0 and len(anomalous) > 0
        return metrics.auroc(clean, anomalous) if known and both else float("nan")

    return compute


@scorer(metrics=[mean(), auroc()])
def mechanistic(
    run: str, inputs: Callable[[TaskState], Any] = from_metadata, alpha: float = 0.01
) -> Scorer:
    """Bits of surprise at how a network treats a sample: high = anomalous.

    The network is the decomposed one of the run, not the model that is evaluated; as a rule it is
    part of that, or reads what it says. Samples whose input holds NaN or infinity are unscored.
    One sample takes as long as a block of them.

    Args:
        run: a directory that holds a detector, such as `apd train` leaves.
        inputs: the input that a sample stands for, in the shape the network takes.
        alpha: the share of false alarms that is flagged for.

    Raises:
        StoreError: the directory cannot be read.
    """
    detector = load(run)

    async def score(state: TaskState, target: Target) -> Score:
        x = as_type(as_array(inputs(state)), detector.profiled.dtype, "the sample")
        result = detector.score(x[None])
        if not result.finite[0]:
            why = "the input holds NaN or infinity, or takes the network out of range"
            return Score.unscored(reason="scoring_failed", explanation=why)
        found = result.explain(0)
        return Score(
            value=found.bits,
            answer=str(found.prediction),
            explanation=in_words(found),
            metadata={
                "p_value": found.p_value,
                "flagged": found.p_value <= alpha,
                "terms": found.terms,
                "components": {str(part.component): part.bits for part in found.components},
            },
        )

    return score


def in_words(found: Explanation) -> str:
    """Why a sample scored as it did, in a sentence."""
    named = ", ".join(f"{p.component} ({p.bits:.1f})" for p in found.components[:NAMED])
    return f"{found.bits:.1f} bits, p = {found.p_value:.2g}; most by components {named}"
