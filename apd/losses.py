"""The losses of Attribution-based Parameter Decomposition, one pure function each.

Source: Braun et al. 2025, arXiv 2501.14926, section 2.2 and appendix A.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from apd.components import Components


def faithfulness(
    components: Components, weights: Mapping[str, Float[Tensor, "_o _i"]]
) -> Float[Tensor, ""]:
    """(1/N) sum_l ||W_l - sum_c P_c,l||^2, N the number of decomposed parameters."""
    gaps = [weights[site] - total for site, total in components.sum().items()]
    return torch.stack([gap.square().sum() for gap in gaps]).sum() / sum(g.numel() for g in gaps)


def output_mse(outputs: Float[Tensor, "n d"], masked: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Minimality for real-valued outputs: (1/nd) sum ||f(x; theta*) - f(x; kappa(x))||^2."""
    return F.mse_loss(masked, outputs)


def output_kl(outputs: Float[Tensor, "n d"], masked: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Minimality for logits: (1/n) sum KL(softmax f(x; theta*) || softmax f(x; kappa(x))), nats."""
    return F.kl_div(
        masked.log_softmax(1), outputs.log_softmax(1), log_target=True, reduction="batchmean"
    )


def simplicity(components: Components, usage: Float[Tensor, "C"], p: float) -> Float[Tensor, ""]:
    """sum_c usage_c sum_l sum_m (||U_cm||^2 ||V_cm||^2)^(p/2).

    A factor bound on the Schatten-p norms of the components; usage_c is the mean of the mask s_c
    over a batch.
    """
    total = usage.new_zeros(())
    for factors in components.factors.values():
        squares = factors.U.square().sum(-1) * factors.V.square().sum(-1)
        total = total + (usage[:, None] * (squares + 1e-12) ** (p / 2)).sum()
    return total
