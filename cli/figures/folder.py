"""Files in a directory: all of them, or none."""

import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from cli.errors import InputError, OutputError, reason


def check(directory: Path, names: Iterable[str]) -> None:
    """Refuses a directory that could not be written to, before any work is done for it.

    Raises:
        InputError: something else is in the way, or it may not be written to.
    """
    there = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if not there.is_dir():
        raise InputError(f"{there} is a file; figures need a directory")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{directory} cannot be written: {there} is not yours to write to")
    for name in names:
        if (directory / name).is_dir():
            raise InputError(f"{directory / name} is a directory, where a figure is to be written")


def write(files: Mapping[str, bytes], directory: Path) -> None:
    """Writes the files into a scratch directory, then moves each into its place.

    Directories that are missing are made, and files of the same names replaced.

    Raises:
        OutputError: they cannot be written; no file is then left half written.
    """
    made = [path for path in (directory, *directory.absolute().parents) if not path.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".figures.", dir=directory) as scratch:
            for name, content in files.items():
                (Path(scratch) / name).write_bytes(content)
            for name in files:
                (Path(scratch) / name).replace(directory / name)
    except OSError as error:
        for path in made:
            with suppress(OSError):
                path.rmdir()
        raise OutputError(f"{directory} cannot be written: {reason(error)}") from error
