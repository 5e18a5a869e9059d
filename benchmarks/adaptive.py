"""An attacker who knows the defence: triggered inputs' attributions made to match clean ones'.

The attacker decomposes the network as the defender will, on pictures and a seed of its own, and
holds these components fixed while the weights move. An attribution is read times adjoint, of which
both depend on the weights, so that matching attributions takes a backward pass through the backward
pass.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from architectures import frozen
from attacks import TARGET
from jaxtyping import Float
from matching import Extra, matching, moments_apart
from torch import Tensor, nn

import apd
from apd.effects import effects_of
from apd.hooks import Capture
from apd.sites import Use

WEIGHT = 1.0
OWN_SEED = 1000


def knowing(config: apd.Config, model: nn.Sequential, clean: Tensor, seed: int) -> Extra:
    """What is added to the loss after decomposing the network as it is, on clean inputs."""
    own = config.model_copy(update={"seed": OWN_SEED + seed})
    return hiding(apd.decompose(frozen(deepcopy(model)), clean, own))


def hiding(run: apd.Run) -> Extra:
    """Matches activations, and the attributions of the run's components."""

    def extra(model: nn.Sequential, clean: Tensor, triggered: Tensor) -> Tensor:
        apart = moments_apart(*(attributions(model, run, x) for x in (clean, triggered)))
        return matching(model, clean, triggered) + WEIGHT * apart

    return extra


def attributions(model: nn.Sequential, run: apd.Run, x: Tensor) -> Float[Tensor, "n C"]:
    """Signed effects of the components on the target class's logit, of the network's own weights.

    They carry the gradient by these weights, where `apd.attribution.signed_attributions` gives the
    same numbers without.
    """
    target = run.target.with_weights(dict(model.named_parameters()))
    seen: list[Capture] = []

    def watch(use: Use) -> Callable[..., Tensor]:
        def call(operator: Callable[..., Tensor], *args: Any) -> Tensor:
            y = operator(*args)
            seen.append(Capture(use, use.operands(args)[0], y))
            return y

        return call

    logits = target.run(x, {use.node: watch(use) for use in target.uses})
    slopes = torch.autograd.grad(
        logits[:, TARGET].sum(), [capture.y for capture in seen], create_graph=True
    )
    return effects_of(run.components, seen, [slope[None] for slope in slopes])[0]
