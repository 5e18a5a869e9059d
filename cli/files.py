"""Files that are either whole or absent: refused before the work, or moved whole into place."""

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from cli.errors import InputError, OutputError, reason

STDOUT = Path("-")

# where the first of them is, all of those that are there belong together
RUN_OR_TOY = ("run.json", "train.json", "toy.json")
BELONGING = (*RUN_OR_TOY, "inputs.npz", "reference.npz")


def check(path: Path, *kept: Path | None) -> None:
    """Refuses a file that could not be written or would overwrite what is needed, before any work.

    Args:
        path: the file.
        kept: files that are read, or written otherwise.

    Raises:
        InputError: so it is.
    """
    if path.is_dir():
        raise InputError(f"{path} is a directory; a file is needed")
    if not path.parent.is_dir():
        raise InputError(f"there is no directory {path.parent} to write {path.name} into")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path} cannot be written: {path.parent} is not yours to write to")
    if any(other is not None and same(path, other) for other in kept):
        raise InputError(f"{path} is needed for something else; give another file to write")
    there = any((path.parent / name).is_file() for name in RUN_OR_TOY)
    if there and path.name in BELONGING and path.exists():
        raise InputError(f"{path} is a part of a run or of a toy; give another file to write")


def same(path: Path, other: Path) -> bool:
    """Whether two names are of one file, there or not."""
    if path.exists() and other.exists():
        return path.samefile(other)
    return os.path.realpath(path) == os.path.realpath(other)


def write_whole(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    """Has `fill` write a temporary neighbour of a file, then moves it into place in one step.

    Raises:
        OutputError: the file cannot be written; what was there before is left as it was.
    """
    path = Path(os.path.realpath(path))
    scratch: Path | None = None
    try:
        scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        with scratch.open("xb") as stream:
            fill(stream)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(path)
        scratch = None
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {reason(error)}") from error
    finally:
        if scratch is not None:
            scratch.unlink(missing_ok=True)
