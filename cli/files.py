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
    place = Path(os.path.realpath(path)) if path.is_symlink() else path
    if place.is_dir():
        raise InputError(f"{path} is a directory; a file is needed")
    if not place.parent.is_dir():
        raise InputError(f"there is no directory {place.parent} to write {place.name} into")
    if not os.access(place.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path} cannot be written: {place.parent} is not yours to write to")
    if any(other is not None and same(path, other) for other in kept):
        raise InputError(f"{path} is needed for something else; give another file to write")
    there = any((place.parent / name).is_file() for name in RUN_OR_TOY)
    if there and place.name in BELONGING and place.exists():
        raise InputError(f"{path} is a part of a run or of a toy; give another file to write")


def check_replaced(path: Path, is_one: Callable[[Path], bool], what: str) -> None:
    """Refuses to write over a file of another kind; an empty one is of any.

    Args:
        path: the file.
        is_one: whether a file is of the kind that is to be written.
        what: that kind.

    Raises:
        InputError: so it is.
    """
    if path.is_file() and path.stat().st_size and not is_one(path):
        raise InputError(f"{path} is there already and is no {what}; give another file to write")


def check_name(directory: Path) -> None:
    """Refuses a directory for a run or a toy whose name their files could not be read under.

    Raises:
        InputError: it is not UTF-8.
    """
    try:
        str(directory).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{directory} is not a name in UTF-8; give another --out") from error


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
