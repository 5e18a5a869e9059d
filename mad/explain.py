"""Why one input scores as it does, with what takes further passes to find out.

"Without" a component means: the network with that component's weights taken away, and all others
and the residual left as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Shaped

from mad.blocks import blocks
from mad.errors import InputError
from mad.evidence import Evidence
from mad.result import ComponentBits, Explanation
from mad.scorer import Scorer
from mad.scores import AttributionBits

NEIGHBOURS = 5


@dataclass(frozen=True, eq=False)
class ComponentReason:
    """One named component's part in an input's outputs.

    Attributes:
        component: its index.
        bits: the bits it answers for.
        rate: how often the reference used it.
        attribution: what it contributed to the explained output, in units of the output.
        quantile: the share of the compared profiled inputs whose attribution is smaller, those
            that equal it counting half. Two-sided: near 0 it contributed less, or more against the
            output, than it usually does, near 1 more than it usually does; 0.5 is usual.
        outputs: the outputs without this component.
        prediction: the index of the largest of them.
    """

    component: int
    bits: float
    rate: float
    attribution: float
    quantile: float
    outputs: Float[np.ndarray, "d"]
    prediction: int


@dataclass(frozen=True)
class Neighbour:
    """A profiled input that uses the named components as the explained input does.

    Attributes:
        row: its row in the detector's `profiled`.
        distance: in standard deviations, sqrt(z^T precision z), z being the difference of the
            attributions of the named components, and zero elsewhere; the precision is that of the
            attribution bits.
        prediction: the class predicted for it.
        active: which of the named components are active on it.
    """

    row: int
    distance: float
    prediction: int
    active: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Reasons:
    """Why an input scores as it does.

    Attributes:
        explanation: what `Result.explain` says of it.
        components: the components it names, in that order.
        compared: how many profiled inputs the quantiles are among: those predicted alike, or all
            where there are none.
        neighbours: the nearest profiled inputs, the nearest first.
        outputs: the network's outputs.
        outputs_without: the outputs without all named components.
        prediction_without: the index of the largest of these.
        residual_share: ||f(x) - f(x; all trusted components)|| / ||f(x)||: how much of the outputs
            comes from weights that trusted inputs do not use.
    """

    explanation: Explanation
    components: tuple[ComponentReason, ...]
    compared: int
    neighbours: tuple[Neighbour, ...]
    outputs: Float[np.ndarray, "d"]
    outputs_without: Float[np.ndarray, "d"]
    prediction_without: int
    residual_share: float


def reasons(
    scorer: Scorer, usual: Evidence, x: Shaped[np.ndarray, "1 *shape"], index: int
) -> Reasons:
    """Explain one input.

    Args:
        scorer: a fitted detector.
        usual: the evidence of its profiled inputs.
        x: the input.
        index: what to call its row.

    Raises:
        InputError: it is not finite.
    """
    result = scorer.score(x)
    if not result.finite[0]:
        raise InputError(f"row {index} holds NaN or infinity, or takes the network out of range")
    explanation = replace(result.explain(0), index=index)
    named = [part.component for part in explanation.components]
    own = scorer.evidence(x)
    alike = usual.prediction == own.prediction[0]
    compared = usual.rows(alike) if alike.any() else usual
    outputs = outputs_without(scorer, x, named)
    return Reasons(
        explanation=explanation,
        components=tuple(
            reason(part, own, compared, outputs_without(scorer, x, [part.component]))
            for part in explanation.components
        ),
        compared=len(compared.prediction),
        neighbours=nearest(metric(scorer, named, own), named, own, usual),
        outputs=own.outputs[0],
        outputs_without=outputs,
        prediction_without=int(outputs.argmax()),
        residual_share=residual_share(own),
    )


def reason(
    part: ComponentBits, own: Evidence, compared: Evidence, outputs: Float[np.ndarray, "d"]
) -> ComponentReason:
    """One component's part, beside what the compared inputs have of it."""
    attribution = own.attributions[0, part.component]
    others = compared.attributions[:, part.component]
    return ComponentReason(
        component=part.component,
        bits=part.bits,
        rate=part.rate,
        attribution=float(attribution),
        quantile=float(np.mean((others < attribution) + 0.5 * (others == attribution))),
        outputs=outputs,
        prediction=int(outputs.argmax()),
    )


def nearest(
    precision: Float[np.ndarray, "k k"], named: list[int], own: Evidence, usual: Evidence
) -> tuple[Neighbour, ...]:
    """The profiled inputs whose attributions of the named components are nearest."""
    z = (usual.attributions[:, named] - own.attributions[0, named]).astype(np.float64)
    distances = np.sqrt(np.einsum("nk,kj,nj->n", z, precision, z).clip(min=0))
    return tuple(
        Neighbour(
            row=int(row),
            distance=float(distances[row]),
            prediction=int(usual.prediction[row]),
            active=tuple(c for c in named if usual.active[row, c]),
        )
        for row in distances.argsort(kind="stable")[:NEIGHBOURS]
    )


def metric(scorer: Scorer, named: list[int], own: Evidence) -> Float[np.ndarray, "k k"]:
    """The precision of the attribution bits given the prediction, of the named components alone."""
    attribution_bits = scorer.profile.scores["attribution_bits"]
    assert isinstance(attribution_bits, AttributionBits)
    code = attribution_bits.code
    return code.precision[code.kind[own.prediction[0]]][np.ix_(named, named)]


def outputs_without(
    scorer: Scorer, x: Shaped[np.ndarray, "1 *shape"], components: list[int]
) -> Float[np.ndarray, "d"]:
    """The outputs of one input without some components, rounded as scoring rounds."""
    [(_, block)] = blocks([x], scorer.decomposition.rows_at_once)
    return scorer.decomposition.outputs_without(block, components)[0]


def residual_share(own: Evidence) -> float:
    """||f(x) - f(x; all trusted components)|| / ||f(x)|| of one input."""
    contributed = np.linalg.norm(own.outputs[0] - own.on_trusted[0])
    return float(contributed / max(np.linalg.norm(own.outputs[0]), np.finfo(np.float64).tiny))
