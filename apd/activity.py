"""Which components inputs use: the strongest, as many as are said to be active."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from apd.batch_sizes import rows_at_once
from apd.components import Components, whole_network
from apd.hooks import capture
from apd.strength import row_strengths
from apd.target import Target
from apd.training.masks import batch_topk
from apd.training.scales import sample


def attributable(target: Target, x: Shaped[Tensor, "n *shape"]) -> bool:
    """Whether the decomposed weights have any effect at first order."""
    return bool(strengths(target, whole_network(target), sample(target, x)).any())


def strengths(
    target: Target, components: Components, x: Shaped[Tensor, "n *shape"]
) -> Float[Tensor, "n C"]:
    """A_c(x), every row's a function of that row alone (`apd.strength.row_strengths`)."""
    at_once = rows_at_once(target, components.numbers_read)
    blocks = (capture(target, rows) for rows in x.split(at_once))
    return torch.cat([row_strengths(*block, components) for block in blocks])


def strongest(strengths: Float[Tensor, "n C"], active: float) -> Bool[Tensor, "n C"]:
    """The strongest pairs, so many per input on average; never those without an effect."""
    k = min(strengths.numel(), round(active * len(strengths)))
    return batch_topk(strengths, k) & (strengths > 0)
