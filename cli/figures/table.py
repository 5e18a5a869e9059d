"""Every figure by name. A new figure is one file and one row here."""

from collections.abc import Callable
from typing import NamedTuple

from matplotlib.figure import Figure

from cli.figures import features, losses, neurons, responses, scrubbed, usage, vectors
from cli.figures.subject import Subject


class Entry(NamedTuple):
    """One figure.

    Attributes:
        missing: why a subject has none; None where it has one.
        draw: makes it.
    """

    missing: Callable[[Subject], str | None]
    draw: Callable[[Subject], Figure]


FIGURES = {
    "losses": Entry(losses.missing, losses.draw),
    "vectors": Entry(vectors.missing, vectors.draw),
    "neurons": Entry(neurons.missing, neurons.draw),
    "scrubbed": Entry(scrubbed.missing, scrubbed.draw),
    "features": Entry(features.missing, features.draw),
    "responses": Entry(responses.missing, responses.draw),
    "usage": Entry(usage.missing, usage.draw),
}
