"""Everything a report says, as plain data: what every renderer shows, and what the JSON holds.

Bits are of surprise; more are more anomalous. A number that is not finite is None.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

FORMAT_VERSION = 1


def finite(value: Any) -> Any:
    """The value, None in place of a number that is NaN or infinite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(finite)]


class Part(BaseModel):
    """A part of a report: frozen, and with no fields but its own."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        json_schema_serialization_defaults_required=True,
    )


class Image(Part):
    """A picture of one input or direction: levels from 0 (the lowest value) to 255 (the highest).

    Attributes:
        signed: whether level 127.5 stands for 0, low being -high.
    """

    kind: Literal["image"] = "image"
    levels: tuple[tuple[int, ...], ...]
    low: float
    high: float
    signed: bool


class Series(Part):
    """Numbers in a row, thinned by means where they are many."""

    kind: Literal["series"] = "series"
    values: tuple[float, ...]
    length: int


class Tokens(Part):
    """The first whole numbers of a list."""

    kind: Literal["tokens"] = "tokens"
    ids: tuple[int, ...]
    length: int


Drawing = Annotated[Image | Series | Tokens, Field(discriminator="kind")]


class Flagging(Part):
    """What was flagged: up to which p-value, None where that is not known.

    Attributes:
        fdr: the share of false ones allowed among the flagged, where the batch settled alpha.
    """

    alpha: float | None
    fdr: float | None


class DriftFound(Part):
    """Whether the batch as a whole differs from the calibration inputs."""

    scores_differ: bool
    direction: str
    p_value: float
    predictions_differ: bool
    predictions_p_value: float


class Verdict(Part):
    """The answer in one sentence, and its numbers.

    Attributes:
        expected_false_alarms: at most so many of as many trusted inputs are flagged, on average.
        not_finite: rows that hold NaN or infinity or take the network out of range; not scored.
        first_not_finite: the first of those.
    """

    sentence: str
    scored: int
    flagged: int
    flagging: Flagging
    expected_false_alarms: float | None
    not_finite: int
    first_not_finite: tuple[int, ...]
    drift: DriftFound | None


class Histogram(Part):
    """Counts of scores between edges in bits, of the batch and of the calibration.

    Attributes:
        threshold: bits above which an input is flagged, where that is one number.
    """

    edges: tuple[float, ...]
    batch: tuple[int, ...]
    calibration: tuple[int, ...] | None
    threshold: float | None


class PValues(Part):
    """The share of scored inputs whose p-value is at most p; of trusted inputs that is about p."""

    p: tuple[float, ...]
    share: tuple[float, ...]


class Named(Part):
    """A component named for an input, and the bits it answers for."""

    component: int
    bits: Number


class Row(Part):
    """A scored input."""

    index: int
    bits: Number
    p_value: Number
    flagged: bool
    prediction: int
    terms: dict[str, Number]
    named: tuple[Named, ...]


class Directions(Part):
    """What a component reads and writes most, at one site."""

    site: str
    read: Drawing | None
    write: Drawing | None


class Reason(Part):
    """A named component's part in an input's outputs; see `mad.explain.ComponentReason`."""

    component: int
    bits: Number
    rate: float
    attribution: Number
    quantile: Number
    prediction_without: int
    directions: Directions | None


class Near(Part):
    """A reference input that uses the named components alike; see `mad.explain.Neighbour`."""

    row: int
    distance: Number
    prediction: int
    active: tuple[int, ...]
    drawing: Drawing | None


class Card(Part):
    """Why one input scores as it does; see `mad.explain.Reasons`."""

    row: Row
    drawing: Drawing | None
    compared: int
    reasons: tuple[Reason, ...]
    neighbours: tuple[Near, ...]
    outputs: tuple[Number, ...]
    outputs_without: tuple[Number, ...]
    prediction_without: int
    residual_share: Number


class Use(Part):
    """How often a component is named and used, in this batch and in the reference.

    Attributes:
        named: scored inputs it is named for.
        named_flagged: flagged inputs it is named for.
        rate: the share of reference inputs that use it.
        batch: the share of a sample of the batch that does.
        flagged: the share of the most surprising flagged inputs that does.
    """

    component: int
    named: int
    named_flagged: int
    rate: float | None
    batch: float | None
    flagged: float | None


class Usage(Part):
    """The components whose use differs most, and how many inputs of the batch were looked at."""

    components: tuple[Use, ...]
    sampled: int
    sampled_flagged: int


class Fact(Part):
    """One line of provenance."""

    name: str
    value: str


class Report(Part):
    """Everything a report says.

    Attributes:
        rows: the flagged inputs, the most surprising first, and a few others where they are few.
        rows_left_out: flagged inputs that are not among them.
        left_out: what the report could have held, and why it does not; one sentence each.
    """

    format_version: Literal[1] = FORMAT_VERSION
    title: str
    verdict: Verdict
    scores: Histogram
    p_values: PValues
    rows: tuple[Row, ...]
    rows_left_out: int
    cards: tuple[Card, ...]
    usage: Usage
    provenance: tuple[Fact, ...]
    left_out: tuple[str, ...]
