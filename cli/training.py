"""What `apd train` makes: a decomposition, as far as the run directory has got, and a detector."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from cli.errors import InputError
from cli.plan import FILE as RECORD
from cli.plan import Plan, record

if TYPE_CHECKING:
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
    import numpy as np

    from apd.reference import training_rows
    from mad.detector import enough, parted

    def is_enough(n: int) -> bool:
        return enough(*parted(np.arange(n - len(training_rows(n, config))), seed=0))

    if not is_enough(rows):
        needed = next(n for n in itertools.count(rows) if is_enough(n))
        raise InputError(
            f"the reference has {rows} inputs; at least {needed} are needed, "
            "to decompose, to profile and to calibrate on"
        )


def fitted(decomposition: apd.Run, material: Material, run: Path) -> mad.Detector:
    """The detector, saved with its run."""
    import mad

    detector = mad.Detector.fit(decomposition, material.reference)
    detector.save(run)
    return detector
