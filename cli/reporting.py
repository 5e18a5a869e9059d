"""Reports of scored rows: what is needed beside the rows, and files in the formats asked for."""

from __future__ import annotations

import hashlib
import platform
import shlex
import sys
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli import files
from cli.errors import InputError
from cli.flags import ending
from cli.packages import refuse_missing
from cli.runs import decomposition_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    import mad
    from cli.rows import Rows
    from mad.reports import Flagging, Gathered, Report

# the keys of mad.reports.RENDERERS, without importing it
SUFFIXES = (".html", ".md", ".json")
NEEDS_JINJA = ".html"
BEGINNING = 4096


def suffixed(paths: list[Path] | None) -> list[Path]:
    """Files of formats that reports can be written in.

    Raises:
        typer.BadParameter: the suffix of one is of none.
    """
    return [ending(path, SUFFIXES) for path in paths or []]


def check(paths: list[Path], *sources: Path | None) -> None:
    """Refuses files that could not be written, or would overwrite another, before any work.

    Args:
        paths: where reports are to go.
        sources: files that are read or written otherwise.

    Raises:
        InputError: so it is, or the page needs a package that is not installed.
    """
    for path in paths:
        files.check(path, *sources)
        files.check_replaced(path, is_report, "report")
        if path.suffix == NEEDS_JINJA:
            refuse_missing("a report as a page", "jinja2")


def is_report(path: Path) -> bool:
    """Whether a file begins as one of a report's formats does, with its title."""
    from mad.reports import TITLE

    with path.open("rb") as stream:
        return TITLE.encode() in stream.read(BEGINNING)


def noted(tables: Iterable[Rows], gathered: Gathered) -> Iterator[Rows]:
    """The tables as they come, taken in for a report."""
    for table in tables:
        gathered.note(table.columns)
        yield table


def compose(
    gathered: Gathered,
    flagging: Flagging,
    detector: mad.Detector | None,
    x: dict[int, NDArray[np.generic]],
    sources: dict[str, Path | None],
    left_out: list[str],
) -> Report:
    """The report of gathered rows.

    Args:
        gathered: the rows.
        flagging: what was flagged.
        detector: what scored them, where it is at hand.
        x: what `looked_at` found, where the inputs are at hand.
        sources: what they come from, by name.
        left_out: what the report cannot say, a sentence each.
    """
    from cli.directions import directing
    from mad.reports import report_of

    return report_of(
        gathered,
        flagging,
        detector=detector,
        x=x,
        directing=undirected if detector is None else directing(decomposition_of(detector)),
        provenance=provenance(detector, sources),
        left_out=left_out,
    )


def undirected(component: int) -> None:
    """Where no run is at hand, nothing is known of what a component reads."""


def write(report: Report, paths: list[Path]) -> None:
    """Writes a report in the formats of the files' suffixes, each whole or not at all.

    Raises:
        OutputError: one cannot be written.
    """
    from mad.reports import rendered

    for path in paths:
        content = rendered(report, path.suffix).encode()
        files.write_whole(path, lambda stream, content=content: stream.write(content))


def say_written(paths: list[Path], *, stderr: bool) -> None:
    """Says where the reports are."""
    from cli.console import say, screen

    say(screen(stderr=stderr), f"The report is in {', '.join(map(str, paths))}.")


def looked_at(
    gathered: Gathered, detector: mad.Detector, path: Path, key: str | None
) -> dict[int, NDArray[np.generic]]:
    """The inputs a report looks at, by their row, from a second pass over their file.

    Raises:
        InputError: the file cannot be used, or has no such rows.
    """
    from math import prod

    from cli.fitting import numpy_type
    from cli.named import taken
    from mad.reports import wanted

    target = decomposition_of(detector).target
    inputs = taken(path, key, target)
    rows = wanted(gathered, prod(target.input_shape) * numpy_type(target.input_dtype).itemsize)
    if rows and rows[-1] >= inputs.count:
        raise InputError(f"{path} has {inputs.count} inputs, and the scores speak of more")
    return picked(inputs.chunks, rows)


def picked(chunks: Iterable[NDArray[Any]], rows: list[int]) -> dict[int, NDArray[Any]]:
    """Some rows out of consecutive chunks.

    Args:
        chunks: arrays of rows.
        rows: which to pick, ascending.
    """
    import numpy as np

    found: dict[int, NDArray[Any]] = {}
    first = 0
    for chunk in chunks:
        own = rows[bisect_left(rows, first) : bisect_left(rows, first + len(chunk))]
        found |= {row: np.array(chunk[row - first]) for row in own}
        first += len(chunk)
    return found


def provenance(detector: mad.Detector | None, sources: dict[str, Path | None]) -> dict[str, str]:
    """Where a report comes from: files and their hashes, the detector, versions, command."""
    from importlib.metadata import version

    facts = {
        **{name: str(path) for name, path in sources.items() if path is not None},
        **{
            f"{name} sha256": digest(path)
            for name, path in sources.items()
            if path is not None and path.is_file()
        },
        **({} if detector is None else of_detector(detector)),
        "versions": ", ".join(
            (
                f"python {platform.python_version()}",
                *(f"{name} {version(name)}" for name in ("apd", "torch", "numpy")),
            )
        ),
        "command": shlex.join(["apd", *sys.argv[1:]]),
        "written": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }
    return {name: encodable(value) for name, value in facts.items()}


def encodable(text: str) -> str:
    """The text with what is no character, such as bytes in a file's name, spelt out."""
    return text.encode(errors="backslashreplace").decode()


def of_detector(detector: mad.Detector) -> dict[str, str]:
    """What a detector is, by name."""
    run = decomposition_of(detector)
    return {
        "decomposition": run.fingerprint,
        "target": run.target.fingerprint,
        "reference": run.reference_fingerprint,
        "training": f"seed {run.config.seed}, {run.components.count} components, "
        f"{len(run.steps)} steps",
        "detector": f"{len(detector.profiled)} inputs profiled, {len(detector.calibrated)} "
        f"calibrated ({type(detector.calibration).__name__}), {detector.accepted} accepted later, "
        f"explaining output {detector.explains}",
    }


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
