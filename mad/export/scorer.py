"""A fitted detector as a graph: what `mad.scorer` does, with ONNX's calls.

The network's numbers are in its own precision, and everything made of them is in float64, as in
scoring.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mad.evidence import MOST_EFFECTS
from mad.export.graph import (
    FLOAT,
    TRUTH,
    WHOLE,
    Graph,
    Network,
    Output,
    added,
    scaled,
    together,
    unless,
)
from mad.export.p_values import p_values
from mad.export.terms import Names, term_of
from mad.profile import Profile
from mad.scorer import DECIMALS, Scorer
from mad.scores import TOTAL


def cleaned(g: Graph, x: str, dtype: np.dtype[Any], axes: int) -> tuple[str, str]:
    """The inputs with zero for what is not finite, and whether a row is finite.

    Args:
        g: the graph.
        x: the inputs.
        dtype: their type.
        axes: how many axes one input has.
    """
    zero = g.constant(np.zeros((), dtype))
    sound = g.call("Equal", g.call("Sub", x, x), zero)
    over = g.constant(np.arange(1, axes + 1))
    least = g.call("ReduceMin", g.cast(sound), over, keepdims=0) if axes else g.cast(sound)
    return g.call("Where", sound, x, zero), g.cast(least, TRUTH)


def scorer(g: Graph, network: Network, detector: Scorer, finite: str) -> dict[str, Output]:
    """Everything a detector says of its inputs, by name.

    Args:
        g: the graph.
        network: the detector's decomposition in the same graph.
        detector: fitted.
        finite: whether an input is; one that takes the network out of range is not scored either.

    Raises:
        InputError: a score is of a kind that cannot be exported.
    """
    evidence = gathered(g, network, detector.profile, detector.explains)
    terms = {name: term_of(g, s, evidence) for name, s in detector.profile.scores.items()}
    every = [terms[name].by_component for name in TOTAL]
    total = rounded(g, added(g, [terms[name].total for name in TOTAL]))
    by_component = added(g, [each for each in every if each is not None])
    in_range = g.call("Equal", g.call("Sub", total, total), g.constant(np.zeros(())))
    finite = g.call("And", finite, in_range)
    row = g.call("Unsqueeze", finite, g.constant(np.array([1])))
    nowhere = g.constant(np.array(-1))
    bits = unless(g, finite, total)
    p = p_values(g, detector.calibration, bits, evidence.prediction, network.width)
    return {
        "bits": Output(bits, FLOAT, ("n",), "the score; higher is more anomalous"),
        "p_value": Output(
            unless(g, finite, p), FLOAT, ("n",), "conformal; flag an input where it is <= alpha"
        ),
        "prediction": Output(
            g.call("Where", finite, evidence.prediction, nowhere),
            WHOLE,
            ("n",),
            "the index of the largest output; -1 where the input is not finite",
        ),
        **{
            name: Output(marked(g, term.total, finite), FLOAT, ("n",), f"part of bits: {name}")
            for name, term in terms.items()
        },
        "component_bits": Output(
            marked(g, by_component, row),
            FLOAT,
            ("n", len(detector.rates)),
            "the bits that every component answers for",
        ),
    }


def gathered(g: Graph, network: Network, profile: Profile, explain: str | int) -> Names:
    """The evidence, as `mad.evidence.gather` has it."""
    prediction = g.call("ArgMax", network.outputs, axis=1, keepdims=0)
    attributions = attributed(g, network, prediction, explain, network.attributions)
    effects = attributed(g, network, prediction, explain, network.input_effects)
    threshold = g.constant(profile.threshold.astype(g.dtype))
    active = g.call("GreaterOrEqual", network.strengths(), threshold)
    runs, coordinates = together(g, effects, network.inputs, MOST_EFFECTS)
    return Names(
        outputs=network.outputs,
        prediction=prediction,
        confidence=confidence(g, network.outputs),
        attributions=attributions,
        active=active,
        masked=network.masked_outputs(g.cast(active)),
        on_trusted=network.outputs_on(np.flatnonzero(profile.trusted).tolist()),
        input_effects=runs,
        coordinates=coordinates,
    )


def confidence(g: Graph, outputs: str) -> str:
    """`mad.predicted.Predicted.confidence`, a column."""
    probability = g.call("Softmax", g.cast(outputs, FLOAT), axis=1)
    return g.call("ReduceMax", probability, g.constant(np.array([1])))


def attributed(
    g: Graph,
    network: Network,
    prediction: str,
    explain: str | int,
    effects_on: Callable[[str], str],
) -> str:
    """Effects on one output, or their root mean square over all.

    Args:
        g: the graph.
        network: in the same graph.
        prediction: the index of every input's largest output.
        explain: the output meant.
        effects_on: the effects on a sum of outputs, by how much of every output is in it.
    """
    every = np.arange(network.width)
    if explain == "predicted":
        chosen = g.call("Unsqueeze", prediction, g.constant(np.array([1])))
        return effects_on(g.cast(g.call("Equal", chosen, g.constant(every[None]))))
    rows = np.eye(network.width, dtype=g.dtype)
    shape = g.call("Shape", network.outputs)
    chosen = every if explain == "all" else every[[int(explain)]]
    effects = [effects_on(g.call("Expand", g.constant(rows[o][None]), shape)) for o in chosen]
    if explain != "all":
        return effects[0]
    total = added(g, [g.call("Mul", effect, effect) for effect in effects])
    return g.call("Sqrt", g.call("Div", total, g.constant(np.asarray(network.width, g.dtype))))


def marked(g: Graph, bits: str, finite: str) -> str:
    """`mad.scorer.marked`: rounded, and NaN where the input is not finite."""
    return unless(g, finite, rounded(g, bits))


def rounded(g: Graph, bits: str) -> str:
    """`mad.scorer.rounded`."""
    places = 10.0**DECIMALS
    whole = g.call("Round", scaled(g, bits, places))
    return g.call("Div", whole, g.constant(np.array(places)))
