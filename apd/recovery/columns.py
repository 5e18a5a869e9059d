"""Recovery of one site's columns: the weights leaving one input feature.

Source: APD, arXiv 2501.14926, section 3.1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from apd.recovery.matches import Matches


def match_columns(weight: Float[Tensor, "o i"], components: Float[Tensor, "C o i"]) -> Matches:
    """Match every column of a weight with the same column of the component most like it.

    A component that is zero matches nothing: its cosines count as 0, and so do the cosine and the
    relative length of a column of zeros.
    """
    cosines = F.cosine_similarity(components, weight[None], dim=1)
    cosine, component = cosines.max(0)
    norms = components.norm(dim=1).gather(0, component[None]).squeeze(0)
    lengths = weight.norm(dim=0)
    return Matches(component, cosine, torch.where(lengths > 0, norms / lengths, 0.0))


def mmcs(weight: Float[Tensor, "o i"], components: Float[Tensor, "C o i"]) -> float:
    """Mean over input features of the best cosine; 1 is perfect direction."""
    return match_columns(weight, components).mmcs


def ml2r(weight: Float[Tensor, "o i"], components: Float[Tensor, "C o i"]) -> float:
    """Mean over input features of the matched column's relative length; 1 is no shrinkage."""
    return match_columns(weight, components).ml2r


def distinct(weight: Float[Tensor, "o i"], components: Float[Tensor, "C o i"]) -> int:
    """How many different components the input features are matched with."""
    return match_columns(weight, components).distinct
