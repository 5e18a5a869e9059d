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
