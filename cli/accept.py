"""`apd accept`: reviewed inputs become usual to a run's detector."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.scoring import opened, run_for

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    import mad


def accept(
    inputs: Annotated[
        Path, typer.Argument(metavar="INPUTS.npz", help="Inputs a person found to be in order.")
    ],
    run: Annotated[
        Path | None, typer.Option(help="The run directory.  [default: the newest under ./runs]")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Which array of the file to accept.")] = None,
) -> None:
    """Teach a run's detector that reviewed inputs are usual.

    Its profile and its calibration take them in; the components stay as they are. What is accepted
    by mistake is not found any more, and what was accepted cannot be taken back: copy the run
    first.

    Example: apd accept reviewed.npz --run runs/mine
    """
    run = run_for(run, inputs, key)
    with alone(run):
        given = opened(run, inputs, key)
        x = whole(given.chunks)
        accepted = given.detector.accept(x)
        accepted.save(run)
    report(run, x, given.detector, accepted)


@contextmanager
def alone(run: Path) -> Generator[None]:
    """Has whoever else accepts inputs into a run wait, by a lock on its manifest."""
    import fcntl

    from apd.store import MANIFEST

    with (run / MANIFEST).open("r+b") as manifest:
        fcntl.flock(manifest, fcntl.LOCK_EX)
        yield


def whole(chunks: Iterator[NDArray[np.generic]]) -> NDArray[np.generic]:
    """All inputs together."""
    import numpy as np

    return np.concatenate(list(chunks))


def report(run: Path, x: NDArray[np.generic], before: mad.Detector, after: mad.Detector) -> None:
    """Prints what the detector holds now, and what it now makes of what was accepted."""
    import numpy as np

    from cli.console import facts, screen

    was, now = (float(np.median(detector.score(x).bits)) for detector in (before, after))
    facts(
        screen(),
        {
            "run": str(run),
            "accepted": f"{after.accepted - before.accepted} inputs, {after.accepted} in all",
            "their bits": f"{was:.1f} before, {now:.1f} now (median)",
            "profile": f"{len(after.profiled)} inputs",
            "calibration": f"{len(after.calibrated)} inputs, "
            f"smallest p-value {after.finest_alpha:.3g}",
        },
    )
