"""One measured line of the table."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured; None where it was not.

    Attributes:
        section: the part of the benchmark.
        experiment: what was run.
        device: where.
        threads: how many.
        naive_s, ours_s, plain_s: median seconds of the naive twin, of the package, and of one plain
            forward and backward of the target on the same inputs.
        speedup: median of naive over ours, pair by pair.
        times_plain: median of ours over plain, pair by pair.
        naive_peak_mb, ours_peak_mb: memory needed beyond the target and the inputs, in MiB.
        matmul_fraction: achieved share of the machine's matmul rate on the operations that must be
            done.
        loss_difference: largest relative difference between naive and ours.
        rows_per_s: inputs scored per second.
        slope: of log seconds over log size, along a sweep.
    """

    section: str
    experiment: str
    device: str
    threads: int
    naive_s: float | None = None
    ours_s: float | None = None
    speedup: float | None = None
    plain_s: float | None = None
    times_plain: float | None = None
    naive_peak_mb: float | None = None
    ours_peak_mb: float | None = None
    matmul_fraction: float | None = None
    loss_difference: float | None = None
    rows_per_s: float | None = None
    slope: float | None = None


# heading -> (attribute, format)
COLUMNS = {
    "experiment": ("experiment", "{}"),
    "device": ("device", "{}"),
    "threads": ("threads", "{}"),
    "naive ms": ("naive_s", "{:,.1f}"),
    "ours ms": ("ours_s", "{:,.2f}"),
    "speedup": ("speedup", "{:.1f}x"),
    "naive MB": ("naive_peak_mb", "{:,.0f}"),
    "ours MB": ("ours_peak_mb", "{:,.0f}"),
    "plain ms": ("plain_s", "{:,.2f}"),
    "/ plain": ("times_plain", "{:.1f}x"),
    "of matmul": ("matmul_fraction", "{:.1%}"),
    "difference": ("loss_difference", "{:.0e}"),
    "rows/s": ("rows_per_s", "{:,.0f}"),
    "slope": ("slope", "{:.2f}"),
}


def show(rows: list[Row], console: Console) -> None:
    """One table, leaving out columns that nothing was measured for."""
    table = Table()
    used = {
        heading: column
        for heading, column in COLUMNS.items()
        if any(getattr(row, column[0]) is not None for row in rows)
    }
    for heading in used:
        table.add_column(
            heading, justify="left" if heading == "experiment" else "right", no_wrap=True
        )
    for i, row in enumerate(rows):
        last = i + 1 == len(rows) or rows[i + 1].section != row.section
        table.add_row(*(cell(row, *column) for column in used.values()), end_section=last)
    console.print(table)


def cell(row: Row, name: str, form: str) -> str:
    """A value as the table shows it, seconds as milliseconds."""
    value = getattr(row, name)
    if value is None:
        return ""
    return form.format(1000 * value if name.endswith("_s") and name != "rows_per_s" else value)
