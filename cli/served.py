"""What a service has served, as Prometheus reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

if TYPE_CHECKING:
    import mad
    from mad.drift import Tally

BITS = (0, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


class Served:
    """Counts of inputs, a histogram of their bits, and whether they have drifted.

    Drift is asked of all inputs since the service began.
    """

    media_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.scored = Counter("apd_scored", "Inputs scored", registry=self.registry)
        self.flagged = Counter("apd_flagged", "Inputs flagged", registry=self.registry)
        self.not_finite = Counter(
            "apd_not_finite",
            "Inputs that hold NaN or infinity, or take the network out of range",
            registry=self.registry,
        )
        self.bits = Histogram("apd_bits", "Bits of surprise", buckets=BITS, registry=self.registry)
        self.drift = Gauge(
            "apd_drift_p_value",
            "Chance of scores so different from the calibration's",
            registry=self.registry,
        )
        self.drift.set(1)
        self.tally: Tally | None = None

    def note(self, result: mad.Result, alpha: float) -> None:
        """Take in what was scored."""
        bits = result.bits[result.finite]
        self.scored.inc(len(bits))
        self.flagged.inc(int((result.p_value <= alpha).sum()))
        self.not_finite.inc(int((~result.finite).sum()))
        for value in bits.tolist():
            self.bits.observe(value)
        self.tally = result.tally() if self.tally is None else self.tally + result.tally()

    def text(self) -> bytes:
        """All of it, drift as it is now."""
        if self.tally is not None and sum(self.tally.predictions.values()):
            self.drift.set(self.tally.p_value())
        return generate_latest(self.registry)
