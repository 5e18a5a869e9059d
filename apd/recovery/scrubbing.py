"""What becomes of the outputs when components are removed from the target, input by input.

If a component has nothing to do with an input, removing it must not matter there. Causal scrubbing
in this form: APD, arXiv 2501.14926, section 3.2 (the histograms of scrubbed and anti-scrubbed
losses). Where the paper ablates from the sum of the components, components are here taken away from
the target itself, so that what no component owns stays.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from apd.components import Components
from apd.effects import effects_of
from apd.hooks import Capture, add
from apd.masked import call_of, masked_outputs
from apd.pairs import Pairs
from apd.sites import Use
from apd.target import Target


class Losses(NamedTuple):
    """Mean squared change of every input's outputs, in units of the outputs squared.

    Attributes:
        sparse: run on its active components alone.
        scrubbed: without a random half of its inactive components.
        anti_scrubbed: the same, without its active components too.
        adversarial: without the inactive components whose removal promised to hurt most.
    """

    sparse: Float[Tensor, "n"]
    scrubbed: Float[Tensor, "n"]
    anti_scrubbed: Float[Tensor, "n"]
    adversarial: Float[Tensor, "n"]


def scrub(
    target: Target,
    components: Components,
    x: Shaped[Tensor, "n *shape"],
    active: Bool[Tensor, "n C"],
    k: int,
    generator: torch.Generator,
) -> Losses:
    """Every loss of a batch.

    Args:
        target: the network.
        components: of it.
        x: inputs.
        active: each input's active components.
        k: how many components to remove from each input for `adversarial`.
        generator: decides which inactive components are removed at random.
    """
    removed = random_half(~active, generator)
    worst = hardest(target, components, x, active, removed, k)
    return Losses(
        sparse_losses(target, components, x, active),
        losses_without(target, components, x, removed),
        losses_without(target, components, x, removed | active),
        losses_without(target, components, x, worst),
    )


def sparse_losses(
    target: Target,
    components: Components,
    x: Shaped[Tensor, "n *shape"],
    active: Bool[Tensor, "n C"],
) -> Float[Tensor, "n"]:
    """Mean squared change of every input's outputs on its active components alone."""
    with torch.no_grad():
        outputs = masked_outputs(target, components, x, Pairs.dense(active, target.dtype))
        return (outputs - target(x)).square().mean(1)


def losses_without(
    target: Target,
    components: Components,
    x: Shaped[Tensor, "n *shape"],
    removed: Bool[Tensor, "n C"],
) -> Float[Tensor, "n"]:
    """Mean squared change of every input's outputs when components are removed from the target."""
    with torch.no_grad():
        outputs, _ = run_without(target, components, x, removed)
        return (outputs - target(x)).square().mean(1)


def random_half(of: Bool[Tensor, "n C"], generator: torch.Generator) -> Bool[Tensor, "n C"]:
    """Each of the (input, component) pairs named, with probability 1/2."""
    return of & torch.randint(2, of.shape, generator=generator).to(of)


def hardest(
    target: Target,
    components: Components,
    x: Shaped[Tensor, "n *shape"],
    active: Bool[Tensor, "n C"],
    removed: Bool[Tensor, "n C"],
    k: int,
) -> Bool[Tensor, "n C"]:
    """The k inactive components of every input whose removal hurts most at first order.

    At the target itself the loss is least and has no slope, so the slope is taken where some
    components are removed already.

    Args:
        target: the network.
        components: of it.
        x: inputs.
        active: each input's active components, which are never chosen.
        removed: where to take the slope; random ones will do.
        k: how many to choose; all that are inactive, where there are fewer.
    """
    slopes = removal_slopes(target, components, x, removed)
    worst = slopes.masked_fill(active, -torch.inf).topk(min(k, components.count), 1).indices
    return torch.zeros_like(active).scatter(1, worst, True) & ~active


def removal_slopes(
    target: Target,
    components: Components,
    x: Shaped[Tensor, "n *shape"],
    removed: Bool[Tensor, "n C"],
) -> Float[Tensor, "n C"]:
    """The derivative of every input's squared error with respect to how much of c is removed.

    With weights theta* - sum_c r_c P_c it is -<d loss / d W, P_c>, at the 0s and 1s of `removed`.
    """
    with torch.enable_grad():
        outputs, captures = run_without(target, components, x, removed)
        loss = (outputs - target(x)).square().sum()
    places = [capture.y for capture in captures]
    gradients = torch.autograd.grad(loss, places, materialize_grads=True)
    return -effects_of(components, captures, [g[None] for g in gradients])[0]


def run_without(
    target: Target,
    components: Components,
    x: Shaped[Tensor, "n *shape"],
    removed: Bool[Tensor, "n C"],
) -> tuple[Float[Tensor, "n d"], list[Capture]]:
    """Every input run on theta* minus its removed components, and every use on the way.

    With gradients enabled, the outputs are differentiable with respect to every captured y.
    """
    call = call_of(components, Pairs.dense(removed, target.dtype))

    def taken(use: Use, operand: Tensor) -> Tensor:
        part = -call(use, operand)
        return part.requires_grad_() if torch.is_grad_enabled() else part

    return add(target, x, taken)
