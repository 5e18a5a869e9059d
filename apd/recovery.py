"""How well components recover mechanisms that are known.

Source: APD, arXiv 2501.14926, section 3.1. Both figures look at one site's columns: the weights
leaving one input feature.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


class Matches(NamedTuple):
    """For every input feature, the component whose column is most like the target's.

    Attributes:
        component: its index.
        cosine: the cosine between the two columns.
        length_ratio: the component's column norm over the target's.
    """

    component: Int[Tensor, "i"]
    cosine: Float[Tensor, "i"]
    length_ratio: Float[Tensor, "i"]


def match_columns(weight: Float[Tensor, "o i"], components: Float[Tensor, "C o i"]) -> Matches:
    """Match every column of a weight with the same column of one component.

    A component that is zero matches nothing: its cosines count as 0.
    """
    cosines = F.cosine_similarity(components, weight[None], dim=1)
    cosine, component = cosines.max(0)
    norms = components.norm(dim=1).gather(0, component[None]).squeeze(0)
    return Matches(component, cosine, norms / weight.norm(dim=0))


def mmcs(weight: Float[Tensor, "o i"], components: Float[Tensor, "C o i"]) -> float:
    """Mean over input features of the best cosine; 1 is perfect direction."""
    return match_columns(weight, components).cosine.mean().item()


def ml2r(weight: Float[Tensor, "o i"], components: Float[Tensor, "C o i"]) -> float:
    """Mean over input features of the matched column's relative length; 1 is no shrinkage."""
    return match_columns(weight, components).length_ratio.mean().item()


def distinct(weight: Float[Tensor, "o i"], components: Float[Tensor, "C o i"]) -> int:
    """How many different components the input features are matched with."""
    return len(set(match_columns(weight, components).component.tolist()))
