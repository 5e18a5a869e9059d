"""The terms of the account as values of a graph, one function each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mad.codes import GaussianCode, TreeCode, WideCode
from mad.codes.spread import LOG2_E
from mad.errors import InputError
from mad.export.graph import FLOAT, Graph, scaled, summed, together
from mad.scores import (
    AttributionBits,
    DescriptionLength,
    InputBits,
    MaskBits,
    OutputBits,
    ResidualBits,
    Score,
)
from mad.scores.input_bits import TINY


class Names(NamedTuple):
    """The values of a graph that hold what `mad.evidence.Evidence` and its `predicted` do.

    `coordinates` is how many input effects there are.
    """

    outputs: str
    prediction: str
    confidence: str
    attributions: str
    active: str
    masked: str
    on_trusted: str
    input_effects: str
    coordinates: int


class Term(NamedTuple):
    """The values that hold what `mad.scores.Bits` does."""

    total: str
    by_component: str | None = None


def term_of(g: Graph, score: Score, evidence: Names) -> Term:
    """One term of the account.

    Raises:
        InputError: it is of a kind that cannot be exported.
    """
    if type(score) not in TERMS:
        raise InputError(f"the score {type(score).__name__} cannot be exported")
    return TERMS[type(score)](g, score, evidence)


def mask_bits(g: Graph, score: MaskBits, evidence: Names) -> Term:
    """What it costs to say of every component whether it is active."""
    each = tree(g, score.code, evidence.active, evidence.prediction)
    return Term(summed(g, each), each)


def attribution_bits(g: Graph, score: AttributionBits, evidence: Names) -> Term:
    """The Gaussian code of the attributions, given the prediction."""
    return gaussian(g, score.code, g.cast(evidence.attributions, FLOAT), evidence)


def input_bits(g: Graph, score: InputBits, evidence: Names) -> Term:
    """The Gaussian code of what came in, given the prediction."""
    each = g.cast(evidence.input_effects, FLOAT)
    effects, _ = together(g, each, evidence.coordinates, score.coordinates)
    whole = g.call("ReduceSum", g.call("Abs", effects), g.constant(np.array([1])))
    shares = g.call("Div", effects, g.call("Max", whole, g.constant(np.array(TINY))))
    return Term(gaussian(g, score.code, shares, evidence).total)


def output_bits(g: Graph, score: OutputBits, evidence: Names) -> Term:
    """The code of what the active components leave unexplained."""
    lost = g.call("Sub", evidence.outputs, evidence.masked)
    return Term(wide(g, score.code, g.cast(lost, FLOAT)))


def residual_bits(g: Graph, score: ResidualBits, evidence: Names) -> Term:
    """The code of what comes from weights that trusted inputs do not use."""
    lost = g.call("Sub", evidence.outputs, evidence.on_trusted)
    return Term(wide(g, score.code, g.cast(lost, FLOAT)))


def description_length(g: Graph, score: DescriptionLength, evidence: Names) -> Term:
    """The price of the active components."""
    cost = g.constant(score.cost.astype(FLOAT))
    return Term(summed(g, g.call("Mul", g.cast(evidence.active, FLOAT), cost)))


TERMS: Mapping[type[Score], Callable[..., Term]] = {
    MaskBits: mask_bits,
    AttributionBits: attribution_bits,
    InputBits: input_bits,
    OutputBits: output_bits,
    ResidualBits: residual_bits,
    DescriptionLength: description_length,
}


def tree(g: Graph, code: TreeCode, on: str, group: str) -> str:
    """`TreeCode.lengths`."""
    kind = g.call("Gather", g.constant(code.kind), group)
    above = g.call("Gather", on, g.constant(code.parent), axis=1)

    def length(given_on: Float[np.ndarray, "G C"], given_off: Float[np.ndarray, "G C"]) -> str:
        ways = (g.call("Gather", g.constant(-np.log2(p)), kind) for p in (given_on, given_off))
        return g.call("Where", above, *ways)

    present = length(code.given_on, code.given_off)
    absent = length(1 - code.given_on, 1 - code.given_off)
    return g.call("Where", on, present, absent)


def gaussian(g: Graph, code: GaussianCode, z: str, evidence: Names) -> Term:
    """`GaussianCode.bits`."""
    label = evidence.prediction
    apart = g.call("Sub", z, g.call("Gather", g.constant(code.means), label))
    deviation = g.call("Mul", apart, g.call("Sqrt", evidence.confidence))
    kind = g.call("Gather", g.constant(code.kind), label)
    u = by_kind(g, deviation, code.precision, kind)
    quadratic = scaled(g, summed(g, g.call("Mul", u, deviation)), 0.5 * LOG2_E)
    length = g.call("Add", quadratic, g.call("Gather", g.constant(code.volume), kind))
    above = g.call("Relu", deviation)
    weights = g.call("Gather", g.constant(0.5 * LOG2_E / code.variance), kind)
    each = g.call("Mul", g.call("Mul", above, above), weights)
    typical = g.call("Gather", g.constant(code.typical), label)
    return Term(untypical(g, length, typical), each)


def by_kind(g: Graph, x: str, matrices: Float[np.ndarray, "G D D"], kind: str) -> str:
    """Every row times the matrix of its kind."""
    products: list[str] = []
    for k, matrix in enumerate(matrices):
        own = g.cast(g.call("Equal", kind, g.constant(np.asarray(k, dtype=np.int64))), FLOAT)
        column = g.call("Unsqueeze", own, g.constant(np.array([1])))
        products.append(g.call("Mul", column, g.call("MatMul", x, g.constant(matrix))))
    return g.call("Sum", *products)


def wide(g: Graph, code: WideCode, z: str) -> str:
    """`WideCode.bits`."""
    deviation = g.call("Sub", z, g.constant(code.mean))
    along = g.call("MatMul", deviation, g.constant(code.directions))
    square = g.call("Mul", deviation, deviation)
    everywhere = summed(g, g.call("Mul", square, g.constant(code.outside)))
    inside = summed(g, g.call("Mul", along, along))
    return untypical(
        g, scaled(g, g.call("Sub", everywhere, inside), 0.5 * LOG2_E), g.constant(code.typical)
    )


def untypical(g: Graph, length: str, typical: str) -> str:
    """Distance from the typical code length."""
    return g.call("Abs", g.call("Sub", length, typical))
