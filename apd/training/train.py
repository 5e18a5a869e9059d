"""Training: minimise faithfulness + minimality + simplicity, one record per step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor

from apd.config import Config
from apd.products import unfilled
from apd.sites import Factors
from apd.target import Target
from apd.training import exercise, losses, schedules
from apd.training.allocator import keep_freed_memory
from apd.training.background import background_of
from apd.training.gradient import Gradient, Mixture
from apd.training.objectives import OBJECTIVES, Objective
from apd.training.optimiser import descend
from apd.training.reproduction import reproduction
from apd.training.scales import Scales, scales_of
from apd.training.settling import settle
from apd.training.sparsity import Phase, phase_of
from apd.training.splitting import split
from apd.training.state import Training, refuse_lost, start_over, try_slower

USAGE_MEMORY = 0.99
NUMBERS_AT_ONCE = 2**20


@dataclass(frozen=True)
class Step:
    """What one optimiser step saw.

    Attributes:
        site: the weight that was being decomposed.
        step: its number, from 0.
        faithfulness, minimality, simplicity: the losses over the target's scales (dimensionless: 1
            is what no components give, and for simplicity what typical mechanisms give). That of
            minimality is of the pass as run, on top of a background (`apd.training.background`).
        active: components an input was run on, k; under the objective lp, those that counted.
        reconstruction: the loss of the hidden outputs, over what no components give.
        amounts: what stands for s_c(x), summed over components: k, or the L_p loss.
    """

    site: str
    step: int
    faithfulness: float
    minimality: float
    simplicity: float
    active: float
    reconstruction: float = 0.0
    amounts: float = 0.0


def train(
    target: Target, reference: Shaped[Tensor, "n *shape"], config: Config, training: Training
) -> Iterator[Step]:
    """Make the remaining steps, changing `training` in place and yielding each step's record.

    Step t depends on `training` and on (seed, t) alone, so that a run taken up again from a saved
    `training` is, bit for bit, the run that was never interrupted.

    Args:
        target: the network to decompose.
        reference: the rows to decompose on.
        config: the settings.
        training: where to go on from; `begin` gives the start.

    Raises:
        ConfigError: the components are no numbers any more, and too late to start over; or a
            hidden output is asked for that is not there.
        ReferenceError: the outputs do not vary over the reference, or the weights do not matter.
    """
    keep_freed_memory()
    components = training.components
    objective = OBJECTIVES[config.objective].of(target, components, reference, config)
    scales = scales_of(target, reference, config)
    search = objective.search_steps(config)
    for step in range(training.step, config.steps):
        if step == search > 0:
            start_over(training, target, config)
        phase = phase_of(step, search, training.attempt.began, config.steps)
        objective.steer(training.sparsity, phase, components.count)
        with torch.no_grad(), unfilled():
            record = advance(target, reference, config, training, scales, objective, phase)
            if phase.settles(config):
                rearrange(training, target, reference, config, scales.mechanisms, record.active)
        training.sparsity.see(record.minimality)
        training.step = step + 1
        separating = phase.progress < config.release_end and step + 1 < config.steps
        if separating and training.attempt.diverges(record.faithfulness):
            try_slower(training, target, config)
        elif not math.isfinite(record.faithfulness):
            refuse_lost(target, training.components)
        yield record
    refuse_lost(target, training.components)


def advance(
    target: Target,
    reference: Shaped[Tensor, "n *shape"],
    config: Config,
    training: Training,
    scales: Scales,
    objective: Objective,
    phase: Phase,
) -> Step:
    """One step down the gradient of the weighted losses."""
    components, sparsity = training.components, training.sparsity
    generator = generator_of(config, training.step)
    x = batch(reference, config, generator)
    selection = objective.select(components, x, sparsity.active, generator)

    gaps = components.residual(target)
    faithfulness = losses.faithfulness(gaps) / scales.weights
    rest, most = phase.rest(config), phase.most_staying(config)
    background = background_of(target, components, rest, most, generator)
    reproduced = reproduction(target, components, x, selection, config, scales, background)
    sizes = losses.sizes(components)
    typical = scales.simplicity * objective.expected(sparsity)
    simplicity = losses.simplicity(sizes, selection.amounts, config.schatten_p) / typical
    penalty = sparsity.patience(config) * schedules.release(
        phase.progress, config.release_start, config.release_end
    )
    by_size = config.simplicity * penalty / typical
    price = config.attributions * penalty + by_size * losses.complexity(sizes, config.schatten_p)
    faithful = Mixture(
        torch.ones_like(training.usage),
        losses.faithfulness_gradient(gaps, config.faithfulness / scales.weights),
    )
    gradient = Gradient(
        mixtures=[faithful, reproduced.staying],
        passes=[reproduced.active, *selection.passes(price)],
        shrinking=losses.simplicity_gradient(sizes, selection.amounts * by_size, config.schatten_p),
    )
    rate = (
        training.attempt.pace
        * config.learning_rate
        * schedules.learning_rate(phase.progress, config.warmup)
    )
    move(training, gradient, {site: rate * size**0.5 for site, size in scales.mechanisms.items()})
    training.usage.lerp_(selection.usage, 1 - USAGE_MEMORY)
    return Step(
        site=", ".join(target.sites),
        step=training.step,
        faithfulness=faithfulness.item(),
        minimality=reproduced.minimality.item(),
        simplicity=simplicity.item(),
        active=selection.active,
        reconstruction=reproduced.reconstruction.item(),
        amounts=selection.amounts.sum().item(),
    )


def rearrange(
    training: Training,
    target: Target,
    reference: Shaped[Tensor, "n *shape"],
    config: Config,
    mechanisms: Mapping[str, float],
    active: float,
) -> None:
    """Settle the components, and make two of those that are; zero ones become second halves.

    Args:
        training: changed in place.
        target: the network.
        reference: the rows to decompose on.
        config: the settings.
        mechanisms: the size of a typical mechanism at every site.
        active: components an input uses on average.

    Raises:
        ConfigError: the components are no numbers any more.
    """
    generator = generator_of(config, training.step)
    sides = exercise.exercised(exercise.moments(target, reference, generator))
    settle(training, target, config.merging, mechanisms, active, sides)
    split(training.components, target, reference, active, config, generator)


def generator_of(config: Config, step: int) -> torch.Generator:
    """What one step draws from, a function of the seed and the step alone."""
    return torch.Generator().manual_seed((config.seed * 1_000_003 + step) % 2**63)


def batch(
    reference: Shaped[Tensor, "n *shape"], config: Config, generator: torch.Generator
) -> Shaped[Tensor, "batch *shape"]:
    """Rows of the reference, drawn with replacement."""
    rows = torch.randint(len(reference), (config.batch_size,), generator=generator)
    return reference.index_select(0, rows.to(reference.device))


def move(training: Training, gradient: Gradient, lengths: Mapping[str, float]) -> None:
    """One Adam step down the gradient, a block of components at a time.

    Args:
        training: changed in place.
        gradient: of the loss.
        lengths: how far a vector moves, per site.
    """
    for site, factors in training.components.factors.items():
        moments = training.moments[site]
        for block in blocks(factors):
            gradients = gradient.at(site, factors, block)
            for tensor, g, moment in zip(factors.of(block), gradients, moments, strict=True):
                descend(tensor, g, moment.block(block), lengths[site], training.step)


def blocks(factors: Factors) -> list[slice]:
    """Slices of components of about `NUMBERS_AT_ONCE` numbers each."""
    count, m, o = factors.U.shape
    size = max(1, NUMBERS_AT_ONCE // (m * max(o, factors.V.shape[2])))
    return [slice(c, min(c + size, count)) for c in range(0, count, size)]
