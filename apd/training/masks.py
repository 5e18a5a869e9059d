"""Choosing which components are active."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def batch_topk(strength: Float[Tensor, "n C"], k: int) -> Bool[Tensor, "n C"]:
    """The k strongest (input, component) pairs of a batch, exactly k of them whatever the ties.

    APD, arXiv 2501.14926, section 2.2: inputs compete for a shared budget, so that a simple input
    leaves room for a complex one.

    Raises:
        ValueError: k is not between 0 and the number of pairs.
    """
    if not 0 <= k <= strength.numel():
        raise ValueError(f"k is {k}; the batch has {strength.numel()} pairs")
    mask = torch.zeros(strength.numel(), dtype=torch.bool, device=strength.device)
    mask[strength.flatten().topk(k, sorted=False).indices] = True
    return mask.view_as(strength)


def sample_topk(strength: Float[Tensor, "n C"], k: int) -> Bool[Tensor, "n C"]:
    """The k strongest components of every input, exactly k of them whatever the ties.

    Raises:
        ValueError: k is not between 0 and the number of components.
    """
    if not 0 <= k <= strength.shape[1]:
        raise ValueError(f"k is {k}; there are {strength.shape[1]} components")
    chosen = strength.topk(k, sorted=False).indices
    return torch.zeros_like(strength, dtype=torch.bool).scatter_(1, chosen, True)


def prominent(strength: Float[Tensor, "n C"], share: float) -> Bool[Tensor, "n C"]:
    """The components of more than a share of an input's greatest strength; none where all are 0."""
    return strength > share * strength.amax(1, keepdim=True)
