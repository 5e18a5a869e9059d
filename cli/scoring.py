"""From a run and a file of inputs to tables of scores, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cli.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    import mad
    from cli.rows import Rows
    from cli.summary import Summary

NAMED = 5


class Opened(NamedTuple):
    """A run, and the inputs it is asked about.

    Attributes:
        run: its directory.
        detector: of the run.
        rows: how many inputs there are.
        chunks: the inputs as the target takes them.
    """

    run: Path
    detector: mad.Detector
    rows: int
    chunks: Iterator[NDArray[np.generic]]


def opened(named: Path | None, path: Path, key: str | None) -> Opened:
    """The run named, or the newest, and the inputs of a file.

    Raises:
        InputError: there is no run, or the inputs cannot be used.
        apd.RunError, mad.MadError: the run directory is damaged or holds no detector.
    """
    run = run_for(named, path, key)
    from cli import runs
    from cli.named import taken

    detector = runs.detector_in(run)
    found = taken(path, key, runs.decomposition_of(detector).target)
    return Opened(run, detector, found.count, found.chunks)


def run_for(named: Path | None, path: Path, key: str | None) -> Path:
    """The run named, or the newest; what is wrong with the file of inputs comes first.

    Raises:
        InputError: there is no finished run, or the file cannot be read.
    """
    from cli.inputs import arrays, look

    arrays(path)
    from cli import runs

    try:
        run = named or runs.newest_ready()
    except InputError:
        look(path, key)
        raise
    runs.refuse_unfinished(run)
    return run


def scored(
    detector: mad.Detector, chunks: Iterator[NDArray[np.generic]], count: int, summary: Summary
) -> Generator[Rows]:
    """Tables of scores as the inputs come, noted in the summary, with progress."""
    from cli.console import progress

    with progress("scoring", count, "rows") as advance:
        for part in summary.settled(counted(detector.stream(chunks), advance)):
            table = tabulate(part, summary.seen, summary.alpha)
            summary.note(part)
            yield table


def counted(
    parts: Iterable[mad.Result], advance: Callable[[int, str], object]
) -> Iterator[mad.Result]:
    """The results as they come, telling how many inputs are done."""
    done = 0
    for part in parts:
        done += len(part.bits)
        advance(done, "")
        yield part


def tabulate(result: mad.Result, first: int, alpha: float) -> Rows:
    """The columns of the contract, in their order, of rows numbered from `first`."""
    import numpy as np

    from cli.rows import Rows

    columns = {
        "index": np.arange(first, first + len(result.bits)),
        "score_bits": result.bits,
        "p_value": result.p_value,
        "flagged": result.p_value <= alpha,
        "prediction": result.prediction,
        **result.terms,
        "status": np.where(result.finite, "ok", "non-finite"),
    }
    for k in range(min(NAMED, result.components.shape[1])):
        columns[f"component_{k + 1}"] = result.components[:, k]
        columns[f"component_{k + 1}_bits"] = result.component_bits[:, k]
    return Rows(columns, result.finite)
