"""How often components are named and used in a batch, beside the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from mad.detector import Detector
from mad.reports.gathered import Gathered
from mad.reports.model import Usage, Use

SHOWN = 30

Shares = Float[np.ndarray, "C"]


def usage(
    gathered: Gathered,
    detector: Detector | None,
    sample: NDArray[Any] | None,
    flagged: NDArray[Any] | None,
) -> Usage:
    """The components whose use differs most from the reference, or those named most.

    Args:
        gathered: the batch.
        detector: what scored it, where it is at hand.
        sample: finite inputs drawn from the batch [n, ...], where they are at hand.
        flagged: the most surprising flagged inputs [n, ...].
    """
    rates = None if detector is None else detector.rates
    batch, odd = shares(detector, sample), shares(detector, flagged)
    named = range(len(rates)) if rates is not None else [c for c in gathered.named if c >= 0]
    uses = [
        Use(
            component=c,
            named=gathered.named[c],
            named_flagged=gathered.named_flagged[c],
            rate=None if rates is None else float(rates[c]),
            batch=None if batch is None else float(batch[c]),
            flagged=None if odd is None else float(odd[c]),
        )
        for c in named
    ]
    return Usage(
        components=tuple(sorted(uses, key=oddness, reverse=True)[:SHOWN]),
        sampled=0 if batch is None or sample is None else len(sample),
        sampled_flagged=0 if odd is None or flagged is None else len(flagged),
    )


def shares(detector: Detector | None, x: NDArray[Any] | None) -> Shares | None:
    """The share of inputs that use each component, where there are inputs."""
    if detector is None or x is None or len(x) == 0:
        return None
    with np.errstate(all="ignore"):
        return detector.evidence(x).active.mean(0)


def oddness(use: Use) -> tuple[float, int, int, int]:
    """How much the use differs, then how often it is named; the first of equals first."""
    found = [share for share in (use.batch, use.flagged) if share is not None]
    differs = max((abs(share - (use.rate or 0.0)) for share in found), default=0.0)
    return differs, use.named_flagged, use.named, -use.component
