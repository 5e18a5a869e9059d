"""Training: minimise faithfulness + minimality + simplicity, one record per step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from apd import losses, schedules
from apd.components import Components
from apd.config import Config
from apd.gradient import Gradient
from apd.masked import masked_captures
from apd.masks import batch_topk
from apd.memory import keep_freed_memory
from apd.optimiser import descend
from apd.pairs import Pairs
from apd.products import unfilled
from apd.scales import Scales, scales_of
from apd.sites import Factors
from apd.sparsity import Phase, phase_of, search_steps
from apd.strength import Strength, strength_of
from apd.target import Target
from apd.training import Training, settle, start_over, try_slower

USAGE_MEMORY = 0.99
NUMBERS_AT_ONCE = 2**20


@dataclass(frozen=True)
class Step:
    """What one optimiser step saw.

    Attributes:
        step: its number, from 0.
        faithfulness, minimality, simplicity: the losses over the target's scales (dimensionless: 1
            is what no components give, and for simplicity what typical mechanisms give).
        active: k per input at this step.
    """

    step: int
    faithfulness: float
    minimality: float
    simplicity: float
    active: float


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
    """
    keep_freed_memory()
    strength = strength_of(target, training.components, reference[:1], config.projections)
    scales = scales_of(target, reference, config)
    for step in range(training.step, config.steps):
        phase = phase_of(step, training.attempt.began, config)
        if step == search_steps(config) > 0:
            start_over(training, target, config)
        training.sparsity.steer(phase, training.components.count, config)
        with torch.no_grad(), unfilled():
            record = advance(target, reference, config, training, scales, strength, phase)
            if phase.settles(config):
                settle(training, target, scales.mechanisms, config.merging)
        training.sparsity.see(record.minimality)
        training.step = step + 1
        separating = phase.progress < config.release_end
        if separating and training.attempt.diverges(record.faithfulness):
            try_slower(training, target, config)
        yield record


def advance(
    target: Target,
    reference: Shaped[Tensor, "n *shape"],
    config: Config,
    training: Training,
    scales: Scales,
    strength: Strength,
    phase: Phase,
) -> Step:
    """One step down the gradient of the weighted losses."""
    components, sparsity = training.components, training.sparsity
    generator = generator_of(config, training.step)
    x = batch(reference, config, generator)
    outputs, mask = active_sets(strength, components, x, sparsity.active, generator)
    usage = mask.to(target.dtype).mean(0)
    pairs = Pairs.of(mask, target.dtype, config.rank)

    gaps = components.residual(target)
    faithfulness = losses.faithfulness(gaps) / scales.weights
    with torch.enable_grad():
        masked, captures = masked_captures(target, components, x, pairs)
        minimality = losses.OUTPUT_LOSSES[config.loss](outputs, masked) / scales.outputs
        errors = torch.autograd.grad(config.minimality * minimality, [c.y for c in captures])
    sizes = losses.sizes(components)
    typical = scales.simplicity * sparsity.expected(config)
    simplicity = losses.simplicity(sizes, usage, config.schatten_p) / typical
    penalty = sparsity.patience(config) * schedules.release(
        phase.progress, config.release_start, config.release_end
    )
    gradient = Gradient(
        sums=losses.faithfulness_gradient(gaps, config.faithfulness / scales.weights),
        captures=captures,
        outputs=errors,
        pairs=pairs,
        shrinking=losses.simplicity_gradient(
            sizes, usage * (config.simplicity * penalty / typical), config.schatten_p
        ),
    )
    rate = (
        training.attempt.pace
        * config.learning_rate
        * schedules.learning_rate(phase.progress, config.warmup)
    )
    move(training, gradient, {site: rate * size**0.5 for site, size in scales.mechanisms.items()})
    training.usage.lerp_(usage, 1 - USAGE_MEMORY)
    losses_seen = faithfulness.item(), minimality.item(), simplicity.item()
    return Step(training.step, *losses_seen, sparsity.active)


def generator_of(config: Config, step: int) -> torch.Generator:
    """What one step draws from, a function of the seed and the step alone."""
    return torch.Generator().manual_seed((config.seed * 1_000_003 + step) % 2**63)


def batch(
    reference: Shaped[Tensor, "n *shape"], config: Config, generator: torch.Generator
) -> Shaped[Tensor, "batch *shape"]:
    """Rows of the reference, drawn with replacement."""
    rows = torch.randint(len(reference), (config.batch_size,), generator=generator)
    return reference.index_select(0, rows.to(reference.device))


def active_sets(
    strength: Strength,
    components: Components,
    x: Shaped[Tensor, "n *shape"],
    active: float,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "n d"], Bool[Tensor, "n C"]]:
    """The target's outputs and each input's active components, `active` per input on average."""
    outputs, strengths = strength(components, x, generator)
    k = min(strengths.numel(), max(1, round(active * len(x))))
    return outputs, batch_topk(strengths, k)


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
