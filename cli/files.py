"""Files that are either whole or absent: written beside their place, then moved there."""

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from cli.errors import OutputError, reason

STDOUT = Path("-")


def write_whole(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    """Has `fill` write a temporary neighbour of a file, then moves it into place in one step.

    Raises:
        OutputError: the file cannot be written; what was there before is left as it was.
    """
    path = path.resolve()
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
