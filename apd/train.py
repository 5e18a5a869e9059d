"""Training: minimise faithfulness + minimality + simplicity, one record per step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from apd import losses, schedules
from apd.components import Components, initialise, parallel_pairs
from apd.config import Config
from apd.gradient import Gradient
from apd.masked import masked_captures
from apd.masks import batch_topk
from apd.memory import keep_freed_memory
from apd.optimiser import Moments, descend
from apd.pairs import Pairs
from apd.products import unfilled
from apd.scales import Scales, scales_of
from apd.sites import Factors
from apd.strength import Strength, strength_of
from apd.target import Target

LARGEST_DEFAULT = 200
USAGE_MEMORY = 0.99
DEAD_SHARE = 0.1
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


@dataclass
class Training:
    """Everything the next step depends on besides the target, the reference and the settings.

    Attributes:
        step: how many steps have been made.
        components: the components, changed in place.
        moments: what Adam remembers of U and of V, per site.
        usage: how often each component was active of late (exponential mean over steps).
    """

    step: int
    components: Components
    moments: dict[str, tuple[Moments, Moments]]
    usage: Float[Tensor, "C"]


def component_count(target: Target, config: Config) -> int:
    """C: what the settings say, else the widest site's larger dimension, within bounds."""
    widest = max(max(site.shape) for site in target.sites.values())
    return config.components or min(LARGEST_DEFAULT, widest)


def active_count(target: Target, config: Config) -> float:
    """k per input: what the settings say, else an eighth of the components."""
    return config.active or component_count(target, config) / 8


def begin(target: Target, config: Config) -> Training:
    """Training before its first step."""
    generator = torch.Generator().manual_seed(config.seed)
    count = component_count(target, config)
    components = initialise(target, count, config.rank, generator)
    average = active_count(target, config) / count
    usage = torch.full((count,), average, dtype=target.dtype, device=target.device)
    moments = {
        site: (Moments.of(factors.U), Moments.of(factors.V))
        for site, factors in components.factors.items()
    }
    return Training(0, components, moments, usage)


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
    tight = active_count(target, config)
    scales = scales_of(target, reference, config, tight)
    for step in range(training.step, config.steps):
        active = schedules.active(
            step / config.steps,
            widest=training.components.count / 4,
            tight=tight,
            loose=tight * config.relaxation,
            narrow_by=config.narrowing,
            loosen_at=config.release_end,
        )
        with torch.no_grad(), unfilled():
            record = advance(target, reference, config, training, scales, strength, active)
        if step == int(config.release_end * config.steps):
            settle(training, tight, config.merging)
        training.step = step + 1
        yield record


def advance(
    target: Target,
    reference: Shaped[Tensor, "n *shape"],
    config: Config,
    training: Training,
    scales: Scales,
    strength: Strength,
    active: float,
) -> Step:
    """One step down the gradient of the weighted losses, with `active` components per input."""
    components, progress = training.components, training.step / config.steps
    generator = generator_of(config, training.step)
    x = batch(reference, config, generator)
    outputs, mask = active_sets(strength, components, x, active, generator)
    usage = mask.to(target.dtype).mean(0)
    pairs = Pairs.of(mask, target.dtype, config.rank)

    gaps = components.residual(target)
    faithfulness = losses.faithfulness(gaps) / scales.weights
    with torch.enable_grad():
        masked, captures = masked_captures(target, components, x, pairs)
        minimality = losses.OUTPUT_LOSSES[config.loss](outputs, masked) / scales.outputs
        errors = torch.autograd.grad(config.minimality * minimality, [c.y for c in captures])
    sizes = losses.sizes(components)
    simplicity = losses.simplicity(sizes, usage, config.schatten_p) / scales.simplicity
    penalty = schedules.release(progress, config.release_start, config.release_end)
    gradient = Gradient(
        sums=losses.faithfulness_gradient(gaps, config.faithfulness / scales.weights),
        captures=captures,
        outputs=errors,
        pairs=pairs,
        shrinking=losses.simplicity_gradient(
            sizes, usage * (config.simplicity * penalty / scales.simplicity), config.schatten_p
        ),
    )
    rate = config.learning_rate * schedules.learning_rate(progress, config.warmup)
    move(training, gradient, {site: rate * size**0.5 for site, size in scales.mechanisms.items()})
    training.usage.lerp_(usage, 1 - USAGE_MEMORY)
    return Step(training.step, faithfulness.item(), minimality.item(), simplicity.item(), active)


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


def settle(training: Training, active: float, cosine: float) -> None:
    """Merge components that are the same, then bury the dead.

    A component is dead when it is used less than `DEAD_SHARE` times as often as an average one. It
    is set to zero, where it stays, and what it held is left to the living.

    Args:
        training: changed in place.
        active: components an input uses on average.
        cosine: from which two components are the same.
    """
    usage = training.usage
    with torch.no_grad():
        for survivor, merged in parallel_pairs(training.components, cosine):
            training.components.absorb(survivor, merged)
            usage[survivor] += usage[merged]
            usage[merged] = 0
        alive = (usage > DEAD_SHARE * active / training.components.count)[:, None, None]
        for site, factors in training.components.factors.items():
            for tensor, moments in zip(factors, training.moments[site], strict=True):
                for zeroed in (tensor, moments.first, moments.second):
                    zeroed.mul_(alive)
