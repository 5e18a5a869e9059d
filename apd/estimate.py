"""What a decomposition will take, from a few steps that are then forgotten."""

from __future__ import annotations

import itertools
import statistics
import time
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from apd.activity import attributable
from apd.config import Config
from apd.errors import ReferenceError
from apd.inputs import Arrays
from apd.preparation import Setup, set_up
from apd.target import Target
from apd.threads import threads_for
from apd.training.sizing import memory
from apd.training.state import begin
from apd.training.train import train

STEPS = 4


@dataclass(frozen=True)
class Estimate:
    """The size of a training.

    Attributes:
        parameters: decomposed weights, a number each.
        sites: how many tensors they are in.
        components: parts to start with, in all sites together.
        rank: the most a component's rank may be at a site.
        batch_size: inputs per step.
        steps: optimiser steps in all.
        memory: what a step holds at most, in bytes.
        step_s: how long one takes on average, in seconds.
    """

    parameters: int
    sites: int
    components: int
    rank: int
    batch_size: int
    steps: int
    memory: int
    step_s: float

    @property
    def seconds(self) -> float:
        """How long all steps take."""
        return self.steps * self.step_s


@torch.inference_mode(False)
def estimate(
    target: nn.Module | Target,
    reference: Shaped[Tensor, "n *shape"] | Shaped[np.ndarray, "n *shape"] | Arrays,
    config: Config | None = None,
) -> Estimate:
    """Time the first `STEPS` steps of every weight, but for the very first, which prepares.

    Nothing is written.

    Where there is one step alone, that one.

    Args:
        target: the network; it is left as it is.
        reference: trusted inputs, as `apd.decompose` takes them.
        config: the settings.

    Raises:
        TargetError: the network cannot be decomposed.
        ReferenceError: the reference is too small, is not finite, or takes the network out of the
            range of its numbers; or the outputs do not vary over it.
        ConfigError: a setting does not fit the target.
    """
    ready = set_up(target, reference, config or Config())
    sites = [ready.target.alone(site) for site in ready.target.sites]
    trained = [site for site in sites if attributable(site, ready.trained_on)]
    tried = [step_of(site, ready) for site in trained]
    if not tried:
        raise ReferenceError(
            "the decomposed weights have no effect at first order on the reference"
        )
    components, memories, times = zip(*tried, strict=True)
    return Estimate(
        parameters=sum(ready.target.weight(site).numel() for site in ready.target.sites),
        sites=len(sites),
        components=sum(components),
        rank=ready.config.rank,
        batch_size=ready.config.batch_size,
        steps=len(tried) * ready.config.steps,
        memory=max(memories),
        step_s=statistics.mean(times),
    )


def step_of(target: Target, ready: Setup) -> tuple[int, int, float]:
    """The components that one weight begins with, the memory a step takes, and its seconds."""
    config = ready.config.model_copy(update={"hidden": ()})
    training = begin(target, config)
    parts = training.components.numbers_read
    with threads_for(target, parts, config.batch_size):
        steps = train(target, ready.trained_on, config, training)
        begun = time.perf_counter()
        ends = [time.perf_counter() for _ in itertools.islice(steps, STEPS)]
    times = [end - start for start, end in itertools.pairwise([begun, *ends])]
    size = memory(target, training.components, config)
    return training.components.count, size, statistics.median(times[1:] or times)
