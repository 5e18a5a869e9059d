"""Training: minimise faithfulness + minimality + simplicity, one record per step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from apd import losses, schedules
from apd.attribution import rms_attributions
from apd.components import Components, initialise, parallel_pairs
from apd.config import Config
from apd.errors import ReferenceError
from apd.hooks import capture, replace
from apd.masks import batch_topk
from apd.sites import Use
from apd.target import Target

OUTPUT_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": losses.output_mse,
    "kl": losses.output_kl,
}

LARGEST_DEFAULT = 200
USAGE_MEMORY = 0.99
DEAD_SHARE = 0.1


@dataclass(frozen=True)
class Step:
    """What one optimiser step saw.

    Attributes:
        step: its number, from 0.
        faithfulness, minimality, simplicity: the losses over the target's scales (dimensionless:
            1 is what components of zero, or for simplicity the undivided weights, would give).
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
        components: the components, as leaves the optimiser moves.
        optimiser: Adam over them.
        usage: how often each component was active of late (exponential mean over steps).
    """

    step: int
    components: Components
    optimiser: torch.optim.Adam
    usage: Float[Tensor, "C"]


@dataclass(frozen=True)
class Scales:
    """What makes the losses comparable between targets.

    Attributes:
        weights: mean square of the decomposed weights.
        outputs: variance of the target's outputs over the reference, 1 where outputs are compared
            by KL.
        simplicity: the simplicity loss of the undivided weights, always on.
    """

    weights: Float[Tensor, ""]
    outputs: Float[Tensor, ""]
    simplicity: Float[Tensor, ""]


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
    return resume(0, components, usage, config)


def resume(
    step: int, components: Components, usage: Float[Tensor, "C"], config: Config
) -> Training:
    """Training after `step` steps, with a fresh optimiser."""
    leaves = [tensor.requires_grad_() for tensor in components.tensors()]
    optimiser = torch.optim.Adam(leaves, lr=config.learning_rate, fused=True)
    return Training(step, components, optimiser, usage)


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
    scales = scales_of(target, reference, config)
    weights = {site: target.weight(site) for site in target.sites}
    tight = active_count(target, config)
    output_loss = OUTPUT_LOSSES[config.loss]
    for step in range(training.step, config.steps):
        progress = step / config.steps
        x = batch(reference, config, step)
        active = schedules.active(
            progress,
            widest=training.components.count / 4,
            tight=tight,
            loose=tight * config.relaxation,
            narrow_by=config.narrowing,
            loosen_at=config.release_end,
        )
        outputs, mask = active_sets(target, training.components, x, active)
        usage = mask.to(target.dtype).mean(0)
        faithfulness = losses.faithfulness(training.components, weights) / scales.weights
        masked = masked_outputs(target, training.components, x, mask)
        minimality = output_loss(outputs, masked) / scales.outputs
        simplicity = (
            losses.simplicity(training.components, usage, config.schatten_p) / scales.simplicity
        )
        penalty = schedules.release(progress, config.release_start, config.release_end)
        loss = (
            config.faithfulness * faithfulness
            + config.minimality * minimality
            + config.simplicity * penalty * simplicity
        )
        descend(
            training, loss, config.learning_rate * schedules.learning_rate(progress, config.warmup)
        )
        training.usage.lerp_(usage, 1 - USAGE_MEMORY)
        if step == int(config.release_end * config.steps):
            settle(training, tight, config.merging)
        training.step = step + 1
        yield Step(step, faithfulness.item(), minimality.item(), simplicity.item(), active)


def batch(
    reference: Shaped[Tensor, "n *shape"], config: Config, step: int
) -> Shaped[Tensor, "batch *shape"]:
    """The batch of one step, a function of the seed and the step alone."""
    generator = torch.Generator().manual_seed((config.seed * 1_000_003 + step) % 2**63)
    rows = torch.randint(len(reference), (config.batch_size,), generator=generator)
    return reference[rows.to(reference.device)]


def active_sets(
    target: Target, components: Components, x: Shaped[Tensor, "n *shape"], active: float
) -> tuple[Float[Tensor, "n d"], Bool[Tensor, "n C"]]:
    """The target's outputs and each input's active components, `active` per input on average."""
    outputs, captures = capture(target, x)
    with torch.no_grad():
        strength = rms_attributions(outputs, captures, components.detach())
    k = min(strength.numel(), max(1, round(active * len(x))))
    return outputs.detach(), batch_topk(strength, k)


def masked_outputs(
    target: Target,
    components: Components,
    x: Shaped[Tensor, "n *shape"],
    mask: Bool[Tensor, "n C"],
) -> Float[Tensor, "n d"]:
    """f(x; kappa(x)): the outputs when every input is run on its active components alone."""

    def active_only(use: Use, operand: Tensor) -> Tensor:
        factors = components.factors[use.site]
        amounts = use.read(operand, factors)
        on = mask.view(len(mask), *[1] * (operand.ndim - 2), -1, 1)
        return use.write(amounts * on, factors)

    return replace(target, x, active_only)


def scales_of(target: Target, reference: Shaped[Tensor, "n *shape"], config: Config) -> Scales:
    """The scales of the weights, of the outputs, and of the undivided weights' simplicity.

    Raises:
        ReferenceError: the outputs do not vary over the reference.
    """
    weights = [target.weight(site) for site in target.sites]
    total = torch.stack([w.square().sum() for w in weights]).sum()
    variance = target(reference[:4096]).var(0, correction=0).mean()
    if not bool(variance > 0):
        raise ReferenceError("the target's outputs are the same on all of the reference")
    return Scales(
        weights=total / sum(w.numel() for w in weights),
        outputs=variance if config.loss == "mse" else torch.ones_like(variance),
        simplicity=torch.stack([w.norm() ** config.schatten_p for w in weights]).sum(),
    )


def descend(training: Training, loss: Float[Tensor, ""], learning_rate: float) -> None:
    """One Adam step down the loss."""
    for group in training.optimiser.param_groups:
        group["lr"] = learning_rate
    training.optimiser.zero_grad()
    loss.backward()
    training.optimiser.step()


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
        for tensor in training.components.tensors():
            tensor.mul_(alive)
            for moment in ("exp_avg", "exp_avg_sq"):
                training.optimiser.state[tensor][moment].mul_(alive)
