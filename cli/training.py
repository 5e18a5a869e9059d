"""What `apd train` makes: a decomposition, as far as the run directory has got, and a detector."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.errors import InputError
from cli.flags import ALPHA
from cli.plan import FILE as RECORD
from cli.plan import Plan, record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    import apd
    import mad
    from cli.targets import Material


def decomposed(plan: Plan, material: Material, run: Path) -> apd.Run:
    """The finished decomposition, from wherever the run directory has got to."""
    import torch

    import apd
    from apd.preparation import frozen
    from cli.console import progress
    from cli.outcome import losses_of
    from cli.targets import device_of

    config = apd.Config.of(dict(plan.decomposition))
    refuse_small(len(material.reference), config)
    device = device_of(plan.device)
    reference = torch.as_tensor(material.reference).to(device)
    target = frozen(material.module.to(device), reference, config)
    warn_of_small(len(reference), config)
    sites = list(target.sites)
    with progress("training", len(sites) * config.steps, "steps") as report:

        def on_step(step: apd.Step) -> None:
            if not (run / RECORD).exists():
                record(plan, run)
            done = sites.index(step.site) * config.steps + step.step + 1
            report(done, f"{step.site}: {losses_of(step)}")

        return apd.decompose(
            target,
            reference,
            config,
            directory=run,
            progress=on_step,
        )


def refuse_small(rows: int, config: apd.Config) -> None:
    """Refuses, before any training, a reference whose three parts would be too small.

    Raises:
        InputError: with how many inputs it takes.
    """
    from mad.parting import enough

    needed = fewest(rows, config, enough)
    if needed > rows:
        raise InputError(
            f"the reference has {rows} inputs; at least {needed} are needed, "
            "to decompose, to profile and to calibrate on"
        )


def warn_of_small(rows: int, config: apd.Config) -> None:
    """Warns, before any training, that nothing will be flagged at the default alpha.

    It says how many trusted inputs it takes, of which but a part calibrate.
    """
    from cli.console import alerts, say
    from mad.calibration import attainable

    needed = fewest(rows, config, lambda _, calibrated: attainable(len(calibrated), ALPHA) > 0)
    if needed > rows:
        say(
            alerts(),
            f"apd: warning: nothing can be flagged at alpha {ALPHA:g} by a detector of {rows:,} "
            f"trusted inputs; it takes {needed:,}.",
            "yellow",
        )


def fewest(
    rows: int, config: apd.Config, suffice: Callable[[NDArray[Any], NDArray[Any]], bool]
) -> int:
    """How many trusted inputs it takes, and no fewer than there are.

    Args:
        rows: how many there are.
        config: what says how many of them are trained on.
        suffice: whether the others do, of which some are profiled and some calibrated on.
    """
    import numpy as np

    from apd.reference import training_count
    from mad.parting import parted

    return next(
        n
        for n in itertools.count(rows)
        if suffice(*parted(np.arange(n - training_count(n, config)), seed=0))
    )


def fitted(decomposition: apd.Run, material: Material, run: Path) -> mad.Detector:
    """The detector, saved with its run."""
    import mad
    from cli.console import alerts, say

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", mad.CalibrationWarning)
        detector = mad.Detector.fit(decomposition, material.reference)
    for warning in found:
        say(alerts(), f"apd: warning: {warning.message}.", "yellow")
    detector.save(run)
    return detector
