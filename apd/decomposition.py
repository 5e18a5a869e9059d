"""From a network and trusted inputs to a run: one weight after the other, kept safe on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from apd.activity import attributable
from apd.assembly import Found, assembled
from apd.checkpoint import (
    CHECKPOINT,
    Progress,
    identity,
    read_checkpoint,
    refuse_other,
    version_there,
    write_checkpoint,
)
from apd.components import Components
from apd.config import Config
from apd.errors import ReferenceError
from apd.inputs import Arrays
from apd.preparation import set_up
from apd.products import unfilled
from apd.reference import fingerprint_of, row_hashes
from apd.run import Run, load
from apd.simplest import simplest
from apd.store import claim, is_run
from apd.target import Target
from apd.threads import threads_for
from apd.tied import spared
from apd.training.exercise import moments, read
from apd.training.scales import hidden_sites, typical_sizes
from apd.training.settling import left_whole, set_apart
from apd.training.state import begin
from apd.training.train import Step, generator_of, train

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
        directory: where to keep a checkpoint while training and the run when done. It goes on
            from a checkpoint found there, to bit for bit the same components; a run that is
            done is read.
        progress: called with the record of every step.

    Raises:
        TargetError: the network cannot be decomposed.
        ReferenceError: the reference is too small, is not finite, or takes the network out of the
            range of its numbers; or the outputs do not vary over it.
        ConfigError: a setting does not fit the target, or the components run away for good.
        RunError: the directory cannot be written, holds a run or a checkpoint of something else,
            or another decomposition writes to it.
    """
    ready = set_up(target, reference, config or Config())
    target, config = ready.target, ready.config
    fingerprint = fingerprint_of(ready.x)
    directory = Path(directory) if directory is not None else None
    belongs_to = identity(target, fingerprint, config)
    if directory is not None and is_run(directory):
        return finished(directory, belongs_to)
    state, there = Progress({}, None, []), None
    if directory is not None:
        claim(directory)
        there = version_there(directory)
        if there is not None:
            state = read_checkpoint(directory, target, belongs_to)
    saved_at = time.monotonic()
    for step in one_by_one(target, ready.trained_on, config, state):
        if progress is not None:
            progress(step)
        if directory is not None and time.monotonic() - saved_at > CHECKPOINT_EVERY_S:
            write_checkpoint(directory, state, belongs_to, there)
            there, saved_at = version_there(directory), time.monotonic()
    if not state.steps:
        raise ReferenceError(
            "the decomposed weights have no effect at first order on the reference"
        )
    components, active = assembled(target, ready.trained_on, state.found, config)
    run = Run(
        target=target,
        components=spared(components, target, ready.trained_on, config),
        active=active,
        config=config,
        rows=ready.rows,
        hashes=row_hashes(ready.trained_on),
        reference_fingerprint=fingerprint,
        steps=state.steps,
        kinds={site: own.kind for site, own in state.found.items()},
    )
    if directory is not None:
        run.save(directory)
        (directory / CHECKPOINT).unlink(missing_ok=True)
    return run


def one_by_one(
    target: Target, x: Shaped[Tensor, "n *shape"], config: Config, state: Progress
) -> Iterator[Step]:
    """Decompose one weight after the other, from wherever that has got to; `state` is changed.

    One without an effect at first order has no attributions, and is left as it is.

    Args:
        target: the network.
        x: the inputs to train on.
        config: the settings.
        state: how far it has got.

    Raises:
        ConfigError: the components run away for good; or a setting does not fit.
        ReferenceError: the outputs do not vary over the inputs, or the weights do not matter.
    """
    for site in target.sites:
        if site in state.found:
            continue
        alone, own = target.alone(site), of_site(config, site, target)
        if not attributable(alone, x):
            state.found[site] = Found(left_whole(alone, own).factors[site], 0.0, "directions")
            continue
        training = state.training = state.training or begin(alone, own)
        with threads_for(alone, training.components.numbers_read, own.batch_size):
            for step in train(alone, x, own, training):
                state.steps.append(step)
                yield step
            parts, active = training.components.factors[site], state.steps[-1].active
            state.found[site] = ended(alone, x, own, Found(parts, active, "trained"))
        state.training = None


def ended(target: Target, x: Shaped[Tensor, "n *shape"], config: Config, trained: Found) -> Found:
    """What is found in one weight: what was trained or is simpler, what is not read set apart.

    Args:
        target: the network, with this weight alone.
        x: inputs.
        config: the settings.
        trained: what training found.
    """
    with torch.no_grad(), unfilled():
        found = simplest(target, x, trained, config)
        components = Components.of(dict.fromkeys(target.sites, found.factors))
        reads = read(target, moments(target, x, generator_of(config, config.steps)))
        untied = {name: own for name, own in reads.items() if not target.sites[name].tied}
        set_apart(components, target, typical_sizes(target), untied)
    return found


def of_site(config: Config, site: str, target: Target) -> Config:
    """The settings for one weight of many: of what may be unexplained, it has its share."""
    own = (site,) if site in hidden_sites(target, config.hidden) else ()
    return config.model_copy(
        update={"hidden": own, "exactness": config.exactness / len(target.sites)}
    )


def finished(directory: Path, belongs_to: Mapping[str, str]) -> Run:
    """The run that is there.

    Raises:
        RunError: it is damaged, or of another target, reference or settings.
    """
    run = load(directory)
    refuse_other(directory, identity(run.target, run.reference_fingerprint, run.config), belongs_to)
    return run
