"""From a network and trusted inputs to a run: training, kept safe on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from apd.checkpoint import (
    CHECKPOINT,
    identity,
    read_checkpoint,
    refuse_other,
    write_checkpoint,
)
from apd.config import Config
from apd.inputs import Arrays
from apd.preparation import set_up
from apd.reference import fingerprint_of, row_hashes
from apd.run import Run, load
from apd.store import claim, is_run
from apd.target import Target
from apd.threads import threads_for
from apd.training.state import begin
from apd.training.train import Step, train

CHECKPOINT_EVERY_S = 5.0


@torch.inference_mode(False)
def decompose(
    target: nn.Module | Target,
    reference: Shaped[Tensor, "n *shape"] | Shaped[np.ndarray, "n *shape"] | Arrays,
    config: Config | None = None,
    *,
    directory: Path | str | None = None,
    progress: Callable[[Step], None] | None = None,
) -> Run:
    """Decompose a network's weights into components (APD, Braun et al. 2025, arXiv 2501.14926).

    Args:
        target: the network; it is copied, and left as it is.
        reference: trusted inputs, by name where the network takes several; a seeded share of them
            (`Config.decompose`) is trained on, and the run remembers which.
        config: the settings.
        directory: where to keep a checkpoint while training and the run when done. Training goes
            on from a checkpoint found there, to bit for bit the same components; a run that is
            done is read.
        progress: called with the record of every step.

    Raises:
        TargetError: the network cannot be decomposed.
        ReferenceError: the reference is too small, is not finite, or takes the network out of the
            range of its numbers; or the outputs do not vary over it.
        ConfigError: a setting does not fit the target, or the components run away for good.
        RunError: the directory cannot be written, or holds a run or a checkpoint of something else.
    """
    ready = set_up(target, reference, config or Config())
    target, config = ready.target, ready.config
    fingerprint = fingerprint_of(ready.x)
    directory = Path(directory) if directory is not None else None
    belongs_to = identity(target, fingerprint, config)
    if directory is not None and is_run(directory):
        return finished(directory, belongs_to)
    if directory is not None:
        claim(directory)
    if directory is not None and (directory / CHECKPOINT).is_file():
        training, steps = read_checkpoint(directory, target, belongs_to)
    else:
        training, steps = begin(target, config), list[Step]()
    saved_at = time.monotonic()
    with threads_for(target, training.components.count * config.rank, config.batch_size):
        for step in train(target, ready.trained_on, config, training):
            steps.append(step)
            if progress is not None:
                progress(step)
            if directory is not None and time.monotonic() - saved_at > CHECKPOINT_EVERY_S:
                write_checkpoint(directory, training, steps, belongs_to)
                saved_at = time.monotonic()
    run = Run(
        target=target,
        components=training.components,
        config=config,
        rows=ready.rows,
        hashes=row_hashes(ready.trained_on),
        reference_fingerprint=fingerprint,
        steps=steps,
    )
    if directory is not None:
        run.save(directory)
        (directory / CHECKPOINT).unlink(missing_ok=True)
    return run


def finished(directory: Path, belongs_to: Mapping[str, str]) -> Run:
    """The run that is there.

    Raises:
        RunError: it is damaged, or of another target, reference or settings.
    """
    run = load(directory)
    refuse_other(directory, identity(run.target, run.reference_fingerprint, run.config), belongs_to)
    return run
