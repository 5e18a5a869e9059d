"""The state of a training: what the next step depends on, and how it starts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from apd.components import Components, initialise
from apd.config import Config
from apd.errors import ConfigError
from apd.target import Target
from apd.training.optimiser import Moments
from apd.training.sparsity import Sparsity

FEWEST, MOST = 50, 200
COMPONENTS_OVER_WIDTH = 2.5
NEAR = 0.5


@dataclass
class Attempt:
    """Components on their way since they last started; changed in place.

    Attributes:
        began: the step they started at, the shares of a phase being of what was left of it.
        pace: factor on the learning rate.
        nearest: the least faithfulness loss so far.
    """

    began: int
    pace: float
    nearest: float

    def diverges(self, faithfulness: float) -> bool:
        """Whether they are no numbers, or were near the weights and now leave more than none."""
        self.nearest = min(self.nearest, faithfulness)
        return not math.isfinite(faithfulness) or (self.nearest < NEAR and faithfulness > 1)


@dataclass
class Training:
    """Everything the next step depends on besides the target, the reference and the settings.

    Attributes:
        step: how many steps have been made.
        components: the components, changed in place.
        moments: what Adam remembers of U and of V, per site.
        usage: how often each component was active of late (exponential mean over steps).
        sparsity: how many components an input may use.
        attempt: how this attempt goes.
    """

    step: int
    components: Components
    moments: dict[str, tuple[Moments, Moments]]
    usage: Float[Tensor, "C"]
    sparsity: Sparsity
    attempt: Attempt


def component_count(target: Target, config: Config) -> int:
    """C: what the settings say, else in proportion to the widest site, within bounds.

    Raises:
        ConfigError: an input is to use more of them than there are.
    """
    widest = max(max(site.shape) for site in target.sites.values())
    count = config.components or min(MOST, max(FEWEST, round(COMPONENTS_OVER_WIDTH * widest)))
    if config.active is not None and config.active > count:
        raise ConfigError(f"setting 'active': {config.active:g} of {count} components are too many")
    return count


def begin(target: Target, config: Config) -> Training:
    """Training before its first step."""
    count = component_count(target, config)
    sparsity = Sparsity.of(count, config)
    generator = torch.Generator().manual_seed(config.seed)
    components = initialise(target, count, config.rank, generator)
    average = sparsity.active / count
    usage = torch.full((count,), average, dtype=target.dtype, device=target.device)
    moments = {
        site: (Moments.of(factors.U), Moments.of(factors.V))
        for site, factors in components.factors.items()
    }
    attempt = Attempt(0, 1.0, math.inf)
    return Training(0, components, moments, usage, sparsity, attempt)


def start_over(training: Training, target: Target, config: Config) -> None:
    """Components as they were in the beginning, with what is known of k by now.

    Adam remembers nothing, but its corrections go on counting from the first step of all: the first
    steps are up to five times as long as they would be, and for some hundred longer. Counted anew,
    superposition came out worse (docs/decisions.md).
    """
    fresh = begin(target, config)
    training.components, training.moments = fresh.components, fresh.moments
    training.usage = fresh.usage
    training.attempt.began, training.attempt.nearest = training.step, math.inf


def try_slower(training: Training, target: Target, config: Config) -> None:
    """Start over at half the pace of other restarts, with what is left of the steps.

    Not for components that have settled: too few steps would be left.
    """
    start_over(training, target, config)
    training.attempt.pace /= 2


def refuse_lost(target: Target, components: Components) -> None:
    """Refuses components whose sum is no number any more.

    Raises:
        ConfigError: that is so.
    """
    if not all(bool(gap.isfinite().all()) for gap in components.residual(target).values()):
        raise ConfigError("setting 'learning_rate': training has left the range of numbers")
