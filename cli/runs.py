"""Which directory is meant when none is named."""

import time
from collections.abc import Callable
from pathlib import Path

from cli.errors import InputError

ROOT = Path("runs")


def is_ready(run: Path) -> bool:
    """Whether a finished run with its detector is there."""
    import apd
    from mad.store import FILE

    return apd.is_run(run) and (run / FILE).is_file()


def newest(wanted: Callable[[Path], bool]) -> Path | None:
    """The directory under ./runs written to last among those that are wanted."""
    there = [path for path in ROOT.iterdir() if path.is_dir()] if ROOT.is_dir() else []
    return max(filter(wanted, there), key=lambda path: path.stat().st_mtime_ns, default=None)


def newest_ready() -> Path:
    """The newest finished run under ./runs.

    Raises:
        InputError: there is none.
    """
    found = newest(is_ready)
    if found is None:
        raise InputError("there is no finished run under ./runs; make one with `apd train`")
    return found


def fresh(name: str) -> Path:
    """A directory for a run that begins now."""
    return ROOT / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
