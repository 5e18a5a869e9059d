"""The losses of Attribution-based Parameter Decomposition, one pure function each.

Source: Braun et al. 2025, arXiv 2501.14926, section 2.2 and appendix A.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from apd.components import Components

SMALLEST = 1e-12


Gaps = Mapping[str, Float[Tensor, "_o _i"]]
Sizes = Mapping[str, tuple[Float[Tensor, "C _m"], Float[Tensor, "C _m"]]]


def faithfulness(gaps: Gaps) -> Float[Tensor, ""]:
    """(1/N) sum_l ||W_l - sum_c P_c,l||^2, N the number of decomposed parameters.

    Args:
        gaps: W_l - sum_c P_c,l at every site, `Components.residual`.
    """
    return torch.stack([g.square().sum() for g in gaps.values()]).sum() / size(gaps)


def faithfulness_gradient(gaps: Gaps, weight: Tensor) -> dict[str, Tensor]:
    """-(2 weight / N) gap: the gradient of `weight` times the loss at sum_c P_c, per site."""
    return {site: gap * (-2 * weight / size(gaps)) for site, gap in gaps.items()}


def size(gaps: Gaps) -> int:
    """N, the number of decomposed parameters."""
    return sum(gap.numel() for gap in gaps.values())


def output_mse(outputs: Float[Tensor, "n d"], masked: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Minimality for real-valued outputs: (1/nd) sum ||f(x; theta*) - f(x; kappa(x))||^2."""
    return F.mse_loss(masked, outputs)


def output_kl(outputs: Float[Tensor, "n d"], masked: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Minimality for logits: (1/n) sum KL(softmax f(x; theta*) || softmax f(x; kappa(x))), nats."""
    return F.kl_div(
        masked.log_softmax(1), outputs.log_softmax(1), log_target=True, reduction="batchmean"
    )


def reconstruction(
    own: Mapping[str, Tensor], masked: Mapping[str, Tensor], scales: Mapping[str, Tensor]
) -> Float[Tensor, ""]:
    """Hidden activations: (1/L) sum_l mean (y_l(x; theta*) - y_l(x; kappa(x)))^2 / scale_l.

    Args:
        own: what the target computes, at L places.
        masked: what the masked pass computes there, and perhaps elsewhere.
        scales: mean square of what the target computes.

    Returns:
        1 is what no components give; 0 where there is nothing to reproduce.
    """
    terms = [F.mse_loss(masked[place], y) / scales[place] for place, y in own.items()]
    return sum(terms, torch.zeros(())) / max(1, len(terms))


def attribution_powers(effects: Float[Tensor, "k n C"], p: float) -> Float[Tensor, "C"]:
    """(1/n) sum_n A_nc^p, with A_nc^2 = sum_k effects_knc^2: what L_p has in the place of s_c(x).

    Their sum over c is the L_p formulation's minimality loss (appendix A.2).
    """
    return (effects.square().sum(0) + SMALLEST).pow(p / 2).mean(0)


def attribution_powers_gradient(
    effects: Float[Tensor, "k n C"], weights: Float[Tensor, "C"], p: float
) -> Float[Tensor, "k n C"]:
    """weights_c (p / n) (A_nc^2)^(p/2 - 1) effects_knc: that of sum_c weights_c powers_c."""
    squares = effects.square().sum(0) + SMALLEST
    return effects * (squares.pow(p / 2 - 1) * (weights * (p / effects.shape[1])))


def simplicity(sizes: Sizes, usage: Float[Tensor, "C"], p: float) -> Float[Tensor, ""]:
    """sum_c usage_c sum_l sum_m (||U_cm||^2 ||V_cm||^2)^(p/2).

    A factor bound on the Schatten-p norms of the components; usage_c is the mean of the mask s_c
    over a batch, or of what an objective has in its place.
    """
    per_site = [(usage[:, None] * (u * v + SMALLEST) ** (p / 2)).sum() for u, v in sizes.values()]
    return torch.stack(per_site).sum()


def complexity(sizes: Sizes, p: float) -> Float[Tensor, "C"]:
    """sum_l sum_m (||U_cm||^2 ||V_cm||^2)^(p/2): the simplicity loss's gradient at the usage."""
    per_site = [((u * v + SMALLEST) ** (p / 2)).sum(1) for u, v in sizes.values()]
    return torch.stack(per_site).sum(0)


def simplicity_gradient(sizes: Sizes, usage: Float[Tensor, "C"], p: float) -> Sizes:
    """What U[c, m] and V[c, m] are multiplied with to give the loss's gradients at them.

    U: usage_c p (||U_cm||^2 ||V_cm||^2)^(p/2 - 1) ||V_cm||^2; V: the same with ||U_cm||^2.
    """
    slopes = {
        s: usage[:, None] * p * (u * v + SMALLEST) ** (p / 2 - 1) for s, (u, v) in sizes.items()
    }
    return {site: (slopes[site] * v, slopes[site] * u) for site, (u, v) in sizes.items()}


def sizes(components: Components) -> Sizes:
    """||U_cm||^2 and ||V_cm||^2 at every site."""
    return {
        site: (squared_lengths(factors.U), squared_lengths(factors.V))
        for site, factors in components.factors.items()
    }


def squared_lengths(vectors: Float[Tensor, "C m d"]) -> Float[Tensor, "C m"]:
    """The squared length of every vector."""
    return torch.linalg.vector_norm(vectors, dim=-1).square()


OUTPUT_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": output_mse,
    "kl": output_kl,
}
