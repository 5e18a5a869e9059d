"""What a report needs of scored rows, gathered while they pass; bounded however many they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from mad.calibration import Calibration
from mad.drift import Tally

KEPT = 300
NAMED_ROWS = 10
BINS_PER_UNIT = 10
BITS_PER_UNIT = 10.0

Table = Mapping[str, NDArray[Any]]


def places(bits: Float[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """Which bin each score is in: floor(10 asinh(bits / 10)), about a bit wide near 0."""
    return np.floor(BINS_PER_UNIT * np.arcsinh(bits / BITS_PER_UNIT)).astype(np.int64)


def edge(place: int) -> float:
    """The least score in a bin."""
    return float(BITS_PER_UNIT * np.sinh(place / BINS_PER_UNIT))


@dataclass
class Gathered:
    """Counts of all rows, and the most surprising rows themselves.

    Attributes:
        calibration: what to compare the batch with, where it is at hand.
        seen: how many rows have passed.
        consecutive: whether they are those of the first inputs, in order.
        flagged: how many of them are flagged.
        unscored: how many hold NaN or infinity, or take the network out of range.
        first_unscored: the first of those.
        places: how many scores are in each bin.
        p_values: how often each p-value came; there are few, those of a calibration.
        strange: how many rows have another p-value than the calibration gives them.
        named: how often each component is named.
        named_flagged: the same of flagged rows.
        tally: what drift needs to know.
        top: the columns of up to `KEPT` rows: the flagged before others, then by falling bits.
    """

    calibration: Calibration | None = None
    seen: int = 0
    consecutive: bool = True
    flagged: int = 0
    unscored: int = 0
    first_unscored: list[int] = field(default_factory=list[int])
    places: Counter[int] = field(default_factory=Counter[int])
    p_values: Counter[float] = field(default_factory=Counter[float])
    strange: int = 0
    named: Counter[int] = field(default_factory=Counter[int])
    named_flagged: Counter[int] = field(default_factory=Counter[int])
    tally: Tally | None = None
    top: Table = field(default_factory=dict[str, NDArray[Any]])

    @property
    def scored(self) -> int:
        """How many rows were scored."""
        return self.seen - self.unscored

    def note(self, table: Table) -> None:
        """Take in the next rows, in the columns of a scores file."""
        ok = table["status"] == "ok"
        unscored = table["index"][~ok]
        self.first_unscored += unscored[: NAMED_ROWS - len(self.first_unscored)].tolist()
        self.consecutive &= np.array_equal(table["index"], self.seen + np.arange(len(ok)))
        self.seen += len(ok)
        self.unscored += len(unscored)
        self.note_scored({name: column[ok] for name, column in table.items()})

    def note_scored(self, table: Table) -> None:
        """Take in rows that were scored."""
        bits, flagged = table["score_bits"], table["flagged"]
        known = np.isfinite(bits)
        self.flagged += int(flagged.sum())
        self.places.update(places(bits[known]).tolist())
        self.p_values.update(table["p_value"][known].tolist())
        for name in component_columns(table):
            self.named.update(table[name].tolist())
            self.named_flagged.update(table[name][flagged].tolist())
        if self.calibration is not None:
            expected = self.calibration.p_values(bits, table["prediction"])
            self.strange += int((~np.isclose(table["p_value"], expected, equal_nan=True)).sum())
            tally = Tally.of(self.calibration, bits, table["prediction"])
            self.tally = tally if self.tally is None else self.tally + tally
        self.top = leading(joined(self.top, table), KEPT)


def component_columns(table: Table) -> list[str]:
    """The columns that name components, the leading one first."""
    return [name for name in table if name.removeprefix("component_").isdecimal()]


def joined(first: Table, second: Table) -> Table:
    """The rows of both, where the first may be of nothing yet."""
    if not first:
        return second
    return {name: np.concatenate([first[name], second[name]]) for name in second}


def leading(table: Table, most: int) -> Table:
    """The first rows by flag, bits and index."""
    order = precedence(table["flagged"], table["score_bits"], table["index"])[:most]
    return {name: column[order] for name, column in table.items()}


def precedence(
    flagged: Bool[np.ndarray, "n"], bits: Float[np.ndarray, "n"], index: Int[np.ndarray, "n"]
) -> Int[np.ndarray, "n"]:
    """The flagged before others, then by falling bits, then by rising index; NaN bits last."""
    return np.lexsort((index, -np.nan_to_num(bits, nan=-np.inf), ~flagged))
