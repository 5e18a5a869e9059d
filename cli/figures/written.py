"""The figures of a run as files: what was written, and what does not apply and why."""

from __future__ import annotations

from pathlib import Path

from cli.console import progress
from cli.figures import folder
from cli.figures.subject import Subject
from cli.figures.svg import svg
from cli.figures.table import FIGURES


def write_figures(subject: Subject, directory: Path) -> dict[str, str]:
    """Draws every figure that applies, then writes them all.

    Returns:
        By file name, what became of it in a few words.

    Raises:
        OutputError: the directory cannot be written.
    """
    files: dict[str, bytes] = {}
    said: dict[str, str] = {}
    with progress("drawing", len(FIGURES), "figures") as report:
        for number, (name, figure) in enumerate(FIGURES.items()):
            report(number, name)
            file = f"{name}.svg"
            why = figure.missing(subject)
            if why is None:
                files[file] = svg(lambda draw=figure.draw: draw(subject), name)
                said[file] = f"written to {directory / file}"
            else:
                said[file] = f"does not apply: {why}{left(directory / file)}"
    folder.write(files, directory)
    return said


def left(path: Path) -> str:
    """What to say of a file that is not replaced."""
    return "; the file of that name is not of this run" if path.exists() else ""
