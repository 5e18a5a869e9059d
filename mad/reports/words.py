"""Numbers and verdicts as people read them."""

from __future__ import annotations

from collections.abc import Iterable

from mad.reports.model import Drawing, DriftFound, Flagging, Row, Series

LARGEST = 3
LARGEST_PLAIN = 1e6
LEAST_SHOWN = 0.05
UNUSED = "unused"
WHOLE_FROM = 10


def bits_text(bits: float | None) -> str:
    """Bits, to a tenth of one."""
    if bits is None:
        return "not finite"
    return f"{bits:,.1f}" if abs(bits) < LARGEST_PLAIN else f"{bits:.2e}"


def named(components: Iterable[tuple[int, float | None]], unused: float | None) -> list[str]:
    """The components that answer for bits, with these.

    Before them `UNUSED`, the weights that trusted inputs do not use, where these have as many.

    Args:
        components: numbers and bits, in falling order.
        unused: the residual bits.
    """
    shown = [(str(c), bits) for c, bits in components if bits is None or bits >= LEAST_SHOWN]
    if unused is not None and unused >= max([LEAST_SHOWN, *(bits or 0 for _, bits in shown)]):
        shown.insert(0, (UNUSED, unused))
    return [f"{name} ({bits_text(bits)})" for name, bits in shown]


def row_named(row: Row) -> str:
    """What a row names."""
    parts = ((part.component, part.bits) for part in row.named)
    return ", ".join(named(parts, row.terms.get("residual_bits")))


def largest(direction: Drawing | None) -> str:
    """The numbers of a direction that count for most, with their places from 0.

    Of a series with every number of its own; an image shows where they are.
    """
    if not isinstance(direction, Series) or len(direction.values) < direction.length:
        return ""
    places = sorted(range(direction.length), key=lambda j: -abs(direction.values[j]))
    return ", ".join(f"{j}: {direction.values[j]:+.2f}" for j in places[:LARGEST])


def number(value: float | None) -> str:
    """Any number, to three figures."""
    return "not finite" if value is None else f"{value:.3g}"


def about(count: float) -> str:
    """An expected number of things, to two figures or to a whole one."""
    return f"{count:.2g}" if count < WHOLE_FROM else f"{count:,.0f}"


def percent(share: float | None) -> str:
    """A share, to a tenth of a percent."""
    return "not known" if share is None else f"{100 * share:.1f} %"


def counted(count: int, thing: str) -> str:
    """So many things."""
    return f"{count:,} {thing}{'s' * (count != 1)}"


def verdict(
    scored: int,
    flagged: int,
    flagging: Flagging,
    expected: float | None,
    not_finite: int,
    drift: DriftFound | None,
) -> str:
    """The answer in one sentence."""
    parts = [f"{flagged:,} of {counted(scored, 'scored input')} {be(flagged)} flagged"]
    parts[0] += promised(flagging, expected)
    if not_finite:
        parts.append(
            f"{counted(not_finite, 'row')} held NaN or infinity, or took the network out of range, "
            "and could not be scored"
        )
    parts.append(drifted(drift))
    return "; ".join(parts) + "."


def be(count: int) -> str:
    """The verb for so many."""
    return "is" if count == 1 else "are"


def promised(flagging: Flagging, expected: float | None) -> str:
    """What the flags promise."""
    if flagging.fdr is not None:
        return f", of which at most a share {flagging.fdr:g} is false, on average"
    if expected is not None:
        at = f" at alpha {flagging.alpha:g}"
        return f"{at}, where at most {about(expected)} false alarms are expected"
    return ""


def drifted(drift: DriftFound | None) -> str:
    """Whether the batch as a whole differs."""
    if drift is None:
        return "whether the batch as a whole differs from the calibration inputs is not known"
    return f"as a whole the batch is {as_a_whole(drift)}"


def as_a_whole(drift: DriftFound) -> str:
    """How a batch differs from what was calibrated on, or that it does not."""
    scores = f"{drift.direction} than" if drift.scores_differ else "like"
    shares = "other" if drift.predictions_differ else "similar"
    return (
        f"{scores} the calibration inputs (p = {drift.p_value:.2g}), "
        f"with {shares} predictions (p = {drift.predictions_p_value:.2g})"
    )
