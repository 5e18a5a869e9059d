"""One card for each of the most surprising inputs: why it scores as it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from mad.detector import Detector
from mad.explain import ComponentReason, Reasons
from mad.reports.drawings import SMALL, direction, drawn, series
from mad.reports.model import Card, Directions, Near, Reason, Row


class Directed(NamedTuple):
    """What a component reads and writes most at one site: its leading singular vectors there.

    Attributes:
        site: the name of the weight.
        read: the direction it reads; of a convolution, in the shape of a patch.
        write: the direction it writes.
    """

    site: str
    read: Float[np.ndarray, "*i"]
    write: Float[np.ndarray, "o"]


Directing = Callable[[int], Directed | None]


def cards(
    detector: Detector, rows: tuple[Row, ...], x: Mapping[int, NDArray[Any]], directing: Directing
) -> tuple[Card, ...]:
    """The cards of the rows whose inputs are there.

    Args:
        detector: what scored them.
        rows: scored inputs.
        x: inputs by their row.
        directing: what a component reads and writes, None where that is nothing.
    """
    with np.errstate(all="ignore"):
        return tuple(
            card(row, x[row.index], detector.explain(x[row.index][None], 0), detector, directing)
            for row in rows
            if row.index in x
        )


def card(
    row: Row, x: NDArray[Any], found: Reasons, detector: Detector, directing: Directing
) -> Card:
    """The card of one input."""
    return Card(
        row=row,
        drawing=drawn(x),
        compared=found.compared,
        reasons=tuple(
            reason(part, directing(part.component), x.shape) for part in found.components
        ),
        neighbours=tuple(
            Near(
                row=near.row,
                distance=near.distance,
                prediction=near.prediction,
                active=near.active,
                drawing=drawn(detector.profiled[near.row], SMALL),
            )
            for near in found.neighbours
        ),
        outputs=tuple(found.outputs.tolist()),
        outputs_without=tuple(found.outputs_without.tolist()),
        prediction_without=found.prediction_without,
        residual_share=found.residual_share,
    )


def reason(part: ComponentReason, directed: Directed | None, shape: tuple[int, ...]) -> Reason:
    """One named component's part.

    Args:
        part: what is known of it.
        directed: what it reads and writes.
        shape: the shape of an input, in which what is read is drawn where it has as many numbers.
    """
    return Reason(
        component=part.component,
        bits=part.bits,
        rate=part.rate,
        attribution=part.attribution,
        quantile=part.quantile,
        prediction_without=part.prediction,
        directions=directed
        and Directions(
            site=directed.site,
            read=direction(directed.read, shape),
            write=series(directed.write),
        ),
    )
