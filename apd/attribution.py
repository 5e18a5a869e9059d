"""First-order effects of components on outputs, from inner activations only.

The effect of component c on an output f_o is <d f_o / d W, P_c> (APD, arXiv 2501.14926, appendix
A). At one use with input x and output gradient g it is sum_m read(x)[c, m] * adjoint(g)[c, m];
uses of one site add up, and so do positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from apd.components import Components
from apd.hooks import Capture

PAIRS_AT_ONCE = 2**24


def signed_attributions(
    outputs: Float[Tensor, "n d"],
    captures: Sequence[Capture],
    components: Components,
    chosen: Int[Tensor, "n"],
) -> Float[Tensor, "n L C"]:
    """Signed effect of every component, per site, on one chosen output of each input.

    Args:
        outputs: the target's outputs and captures, from `apd.hooks.capture`.
        chosen: the output to explain, for every input.

    Returns:
        <d f_chosen / d W_l, P_c,l> in units of the output, for input n, site l, component c.
    """
    selected = outputs.gather(1, chosen[:, None]).sum()
    gradients = torch.autograd.grad(selected, [capture.y for capture in captures])
    return torch.stack(per_site([g[None] for g in gradients], captures, components), dim=2).squeeze(
        0
    )


def rms_attributions(
    outputs: Float[Tensor, "n d"], captures: Sequence[Capture], components: Components
) -> Float[Tensor, "n C"]:
    """A_c = sqrt((1/d) sum_o (sum_l <d f_o / d W_l, P_c,l>)^2), the strength batch top-k ranks."""
    total = outputs.new_zeros(len(outputs), components.count)
    for effects in output_chunks(outputs, captures, components):
        total += torch.stack(effects).sum(0).square().sum(0)
    return (total / outputs.shape[1]).sqrt()


def rms_attributions_per_site(
    outputs: Float[Tensor, "n d"], captures: Sequence[Capture], components: Components
) -> Float[Tensor, "n L C"]:
    """sqrt((1/d) sum_o <d f_o / d W_l, P_c,l>^2), unsigned, per site."""
    total = outputs.new_zeros(len(outputs), len(components.factors), components.count)
    for effects in output_chunks(outputs, captures, components):
        total += torch.stack([effect.square().sum(0) for effect in effects], dim=1)
    return (total / outputs.shape[1]).sqrt()


def output_chunks(
    outputs: Float[Tensor, "n d"], captures: Sequence[Capture], components: Components
) -> Iterator[list[Float[Tensor, "k n C"]]]:
    """Per site, the signed effects on k outputs at a time, k set by `PAIRS_AT_ONCE`."""
    n, d = outputs.shape
    eye = torch.eye(d, dtype=outputs.dtype, device=outputs.device)
    for rows in eye.split(max(1, PAIRS_AT_ONCE // (n * components.count))):
        gradients = torch.autograd.grad(
            outputs,
            [capture.y for capture in captures],
            rows[:, None, :].expand(-1, n, -1),
            retain_graph=True,
            is_grads_batched=True,
        )
        yield per_site(gradients, captures, components)


def per_site(
    gradients: Sequence[Float[Tensor, "k n ..."]],
    captures: Sequence[Capture],
    components: Components,
) -> list[Float[Tensor, "k n C"]]:
    """Effects on k scalars at every site, given their gradients at every captured output."""
    effects: dict[str, Tensor] = {}
    for g, capture in zip(gradients, captures, strict=True):
        factors = components.factors[capture.use.site]
        parts = capture.use.read(capture.x, factors) * capture.use.adjoint(g, factors)
        effect = parts.sum(-1).flatten(2, -2).sum(2) if parts.ndim > 4 else parts.sum(-1)
        site = capture.use.site
        effects[site] = effects[site] + effect if site in effects else effect
    return [effects[site] for site in components.factors]
