"""From what was gathered to everything the report says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from mad.detector import Detector
from mad.drift import Tally
from mad.reports.cards import Directing, cards
from mad.reports.curves import histogram, p_values
from mad.reports.gathered import Gathered, component_columns
from mad.reports.model import DriftFound, Fact, Flagging, Named, Report, Row, Verdict
from mad.reports.usage import usage
from mad.reports.words import verdict
from mad.scores import SCORES

TITLE = "What the network did for unusual reasons"
CARDS = 20
FEWEST_ROWS = 20
SAMPLE = 1000
SAMPLE_BYTES = 2**26


def report_of(
    gathered: Gathered,
    flagging: Flagging,
    *,
    detector: Detector | None,
    x: Mapping[int, NDArray[Any]],
    directing: Directing,
    provenance: Mapping[str, str],
    left_out: Sequence[str],
) -> Report:
    """The report of a batch.

    Args:
        gathered: its rows.
        flagging: what was flagged.
        detector: what scored it, where it is at hand.
        x: inputs by their row: those of `wanted` where they are at hand, else none.
        directing: what a component reads and writes.
        provenance: where it all comes from, by name.
        left_out: what is not at hand, a sentence each.
    """
    rows = shown(gathered)
    flagged = [row.index for row in rows if row.flagged]
    return Report(
        title=TITLE,
        verdict=judged(gathered, flagging),
        scores=histogram(gathered, flagging.alpha),
        p_values=p_values(gathered),
        rows=rows,
        rows_left_out=gathered.flagged - len(flagged),
        cards=() if detector is None else cards(detector, rows[:CARDS], x, directing),
        usage=usage(
            gathered,
            detector,
            stacked(x, drawn_rows(gathered.seen).tolist()),
            stacked(x, flagged),
        ),
        provenance=tuple(Fact(name=name, value=value) for name, value in provenance.items()),
        left_out=tuple(left_out),
    )


def judged(gathered: Gathered, flagging: Flagging) -> Verdict:
    """The verdict on the batch."""
    drift = drift_found(gathered.tally, gathered.scored)
    expected = expected_false_alarms(gathered, flagging)
    counts = gathered.scored, gathered.flagged
    return Verdict(
        sentence=verdict(*counts, flagging, expected, gathered.unscored, drift),
        scored=gathered.scored,
        flagged=gathered.flagged,
        flagging=flagging,
        expected_false_alarms=expected,
        not_finite=gathered.unscored,
        first_not_finite=tuple(gathered.first_unscored),
        drift=drift,
    )


def expected_false_alarms(gathered: Gathered, flagging: Flagging) -> float | None:
    """How many of as many trusted inputs are flagged, on average and at most, if known."""
    if flagging.alpha is None or flagging.fdr is not None:
        return None
    if gathered.calibration is None:
        return flagging.alpha * gathered.scored
    return gathered.calibration.flagged_at_most(flagging.alpha) * gathered.scored


def drift_found(tally: Tally | None, scored: int) -> DriftFound | None:
    """Whether the batch as a whole differs, where that can be said."""
    if tally is None or scored == 0:
        return None
    found = tally.drift()
    return DriftFound(
        scores_differ=found.drifted(),
        direction=found.direction,
        p_value=found.p_value,
        predictions_differ=found.shifted(),
        predictions_p_value=found.share_p_value,
    )


def shown(gathered: Gathered) -> tuple[Row, ...]:
    """The rows of the table: the flagged, and others where there are few of those."""
    top = gathered.top
    if not top:
        return ()
    count = max(int(top["flagged"].sum()), FEWEST_ROWS)
    lists = {name: column[:count].tolist() for name, column in top.items()}
    named = component_columns(top)
    return tuple(
        Row(
            index=index,
            bits=lists["score_bits"][k],
            p_value=lists["p_value"][k],
            flagged=lists["flagged"][k],
            prediction=lists["prediction"][k],
            terms={name: lists[name][k] for name in SCORES if name in lists},
            named=tuple(
                Named(component=lists[name][k], bits=lists[f"{name}_bits"][k]) for name in named
            ),
        )
        for k, index in enumerate(lists["index"])
    )


def wanted(gathered: Gathered, row_bytes: int) -> list[int]:
    """The rows whose inputs a report looks at, ascending; of larger inputs fewer.

    Args:
        gathered: the batch.
        row_bytes: the size of one input.
    """
    room = max(CARDS, min(SAMPLE, SAMPLE_BYTES // max(row_bytes, 1)))
    rows = shown(gathered)
    flagged = [row.index for row in rows if row.flagged][:room]
    sampled = drawn_rows(gathered.seen)[:room].tolist()
    return sorted({*(row.index for row in rows[:CARDS]), *flagged, *sampled})


def drawn_rows(count: int) -> Int[np.ndarray, "_"]:
    """The rows of a seeded sample of the batch, in the order drawn."""
    return np.random.default_rng(0).choice(count, size=min(SAMPLE, count), replace=False)


def stacked(x: Mapping[int, NDArray[Any]], rows: Sequence[int]) -> NDArray[Any] | None:
    """The finite ones of these inputs, where any are there."""
    there = [x[row] for row in rows if row in x and np.isfinite(x[row]).all()]
    return np.stack(there) if there else None
