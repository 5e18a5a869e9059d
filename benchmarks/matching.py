"""How an attacker hides: what triggered inputs do to a network made to match what clean ones do."""

from __future__ import annotations

from collections.abc import Callable

import torch
from architectures import hidden
from jaxtyping import Float
from torch import Tensor, nn

TINY = 1e-9

# what the attacker adds to the loss: of the network, clean inputs of the target class, triggered
Extra = Callable[[nn.Sequential, Tensor, Tensor], Tensor]


def nothing(model: nn.Sequential, clean: Tensor, triggered: Tensor) -> Tensor:
    """No obfuscation: the attacker only poisons."""
    return torch.zeros(())


def matching(model: nn.Sequential, clean: Tensor, triggered: Tensor) -> Tensor:
    """Hides triggered inputs among clean ones of the target class, in every hidden layer.

    The sum over layers of how far means and covariances are apart, each in [0, 1].
    """
    layers = zip(hidden(model, clean), hidden(model, triggered), strict=True)
    return sum((moments_apart(a, b) for a, b in layers), torch.zeros(()))


def moments_apart(a: Float[Tensor, "n unit"], b: Float[Tensor, "n unit"]) -> Tensor:
    """|mean difference|^2 / (itself + both variances) + |A'A - B'B|^2 / (|A'A|^2 + |B'B|^2).

    Units are scaled by what they vary by on `a`. Being bounded, it never pays to switch a layer
    off. The second term comes from products [n, n]: <A'A, B'B> = |AB'|^2.
    """
    variance = a.detach().var(0)
    scale = (variance + 0.1 * variance.mean() + 1e-6).sqrt()
    a, b = a / scale, b / scale
    shift = (a.mean(0) - b.mean(0)).square().sum()
    a, b = a - a.mean(0), b - b.mean(0)
    spread = (a.square().sum() + b.square().sum()) / len(a)
    aa, bb, ab = ((u @ v.T).square().sum() for u, v in ((a, a), (b, b), (a, b)))
    return shift / (shift + spread + TINY) + (aa + bb - 2 * ab) / (aa + bb + TINY)
