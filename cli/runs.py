"""Which directory is meant when none is named, and what is in it."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cli.errors import InputError
from cli.files import check_name, same
from cli.plan import FILE as RECORD

if TYPE_CHECKING:
    import apd
    import mad

ROOT = Path("runs")


def is_ready(run: Path) -> bool:
    """Whether a finished run with its detector is there."""
    import apd
    from mad.store import FILE

    return apd.is_run(run) and (run / FILE).is_file()


def is_unfinished(run: Path) -> bool:
    """Whether training was begun there and not brought to its end, the detector included."""
    import apd

    begun = apd.is_run(run) or apd.is_unfinished(run) or (run / RECORD).is_file()
    return begun and not is_ready(run)


def newest(wanted: Callable[[Path], bool]) -> Path | None:
    """The directory under ./runs begun last among those that are wanted."""
    there = [path for path in ROOT.iterdir() if path.is_dir()] if ROOT.is_dir() else []
    return max(filter(wanted, there), key=begun_at, default=None)


def begun_at(run: Path) -> int:
    """When a run was begun, in nanoseconds, whatever was written into it later."""
    from apd.store import MANIFEST

    once = [path for name in (RECORD, MANIFEST) if (path := run / name).is_file()]
    return (once[0] if once else run).stat().st_mtime_ns


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
    """A directory for a run that begins now, no other process's."""
    return ROOT / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"


def unfinished(named: Path | None) -> Path:
    """The run named, else the newest under ./runs, that can be gone on with.

    Raises:
        InputError: there is none, or it is finished.
    """
    run = named or newest(is_unfinished)
    if run is None:
        raise InputError("there is no unfinished run under ./runs to resume")
    if is_ready(run):
        raise InputError(f"{run} is finished; there is nothing to resume")
    if not is_unfinished(run):
        raise InputError(f"there is no unfinished run in {run} to resume")
    return run


def named(run: Path) -> list[str]:
    """What names a finished run to a command; nothing where it is found without."""
    found = newest(is_ready)
    return [] if found is not None and same(found, run) else ["--run", str(run)]


def to_resume(run: Path) -> str:
    """The command that goes on with an unfinished run."""
    return command("train", "--resume", "--out", str(run))


def command(*words: str) -> str:
    """A command line to copy."""
    return shlex.join(["apd", *words])


def refuse_taken(run: Path) -> None:
    """Refuses a directory that holds anything, or has no name to be read under.

    Raises:
        InputError: so it is; the message says what to do.
    """
    check_name(run)
    if not run.exists() or (run.is_dir() and not any(run.iterdir())):
        return
    if is_unfinished(run):
        raise InputError(
            f"{run} holds an unfinished run; go on with it by `{to_resume(run)}`, "
            "or choose another --out"
        )
    what = "a finished run" if is_ready(run) else "something other than a run"
    raise InputError(f"{run} already holds {what}; choose another --out")


def detector_in(run: Path) -> mad.Detector:
    """The detector of a finished run.

    Raises:
        InputError: the run is not there, or not finished.
        mad.MadError: it is damaged.
    """
    import mad

    refuse_unfinished(run)
    return mad.load(run)


def refuse_unfinished(run: Path) -> None:
    """Refuses what is no finished run.

    Raises:
        InputError: so it is; the message says what to do.
    """
    if is_unfinished(run):
        raise InputError(f"{run} is not finished; go on with it by `{to_resume(run)}`")
    if not is_ready(run):
        raise InputError(f"there is no finished run in {run}")


def decomposition_of(detector: mad.Detector) -> apd.Run:
    """The run a detector scores with.

    Raises:
        InputError: it is a decomposition of another kind.
    """
    import apd

    if not isinstance(detector.decomposition, apd.Run):
        raise InputError("the detector is of a decomposition that is not apd's")
    return detector.decomposition
