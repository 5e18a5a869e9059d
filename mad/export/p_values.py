"""P-values as values of a graph."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from mad.calibration import Calibration
from mad.export.graph import FLOAT, Graph, summed


def p_values(g: Graph, calibration: Calibration, bits: str, prediction: str, classes: int) -> str:
    """`Calibration.p_values`: (1 + #{scores >= bits}) / (number of scores + 1) within a group.

    Args:
        g: the graph.
        calibration: says which scores the p-value of an input of a class rests on.
        bits: the inputs' scores.
        prediction: their classes.
        classes: how many there are.
    """
    groups: dict[bytes, Float[np.ndarray, "_"]] = {}
    of_class: list[int] = []
    for k in range(classes):
        [(_, scores)] = calibration.groups(np.array([k]))
        groups.setdefault(scores.tobytes(), scores)
        of_class.append(list(groups).index(scores.tobytes()))
    filled = np.full((len(groups), max(map(len, groups.values()))), -np.inf)
    for row, scores in zip(filled, groups.values(), strict=True):
        row[: len(scores)] = scores
    counts = np.array([len(scores) + 1.0 for scores in groups.values()])
    group = g.call("Gather", g.constant(np.array(of_class)), prediction)
    own = g.call("Unsqueeze", bits, g.constant(np.array([1])))
    reached = g.call("GreaterOrEqual", looked_up(g, filled, group), own)
    at_least = g.call("Add", summed(g, g.cast(reached, FLOAT)), g.constant(np.ones(())))
    return g.call("Div", at_least, looked_up(g, counts, group))


def looked_up(g: Graph, table: Float[np.ndarray, "groups ..."], group: str) -> str:
    """Every input's row of a table; one row serves all of them as it is."""
    whole = g.constant(table)
    return whole if len(table) == 1 else g.call("Gather", whole, group)
