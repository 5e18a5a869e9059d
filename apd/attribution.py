"""First-order effects of components on outputs, from inner activations only.

The effect of component c on an output f_o is <d f_o / d W, P_c> (APD, arXiv 2501.14926, appendix
A). At one use with input x and output gradient g that of a part p is
sum_m read(x)[p, m] * adjoint(g)[p, m]; a component's parts add up, uses of one site, and positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from apd.components import Components
from apd.effects import effects_at, summed
from apd.hooks import Capture
from apd.output_gradients import every_output, gradients_along, gradients_at


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
    gradients = gradients_at([capture.y for capture in captures], outputs, chosen)
    return effects_of_sites(captures, gradients, components)


def effects_of_sites(
    captures: Sequence[Capture], gradients: Sequence[Tensor], components: Components
) -> Float[Tensor, "n L C"]:
    """Effects of every component, per site, on what has these gradients at every use's output."""
    first = gradients[0]
    effects = {site: first.new_zeros(len(first), components.count) for site in components.factors}
    for g, capture in zip(gradients, captures, strict=True):
        site = capture.use.site
        parts = effects_at(capture, components.factors[site])(g[None])[0]
        effects[site].index_add_(1, components.owners[site], parts)
    return torch.stack(list(effects.values()), dim=1)


def positional_attributions(
    outputs: Float[Tensor, "n d"],
    captures: Sequence[Capture],
    components: Components,
    chosen: Int[Tensor, "n"],
) -> dict[tuple[int, ...], Float[Tensor, "n ..."]]:
    """The effects of `signed_attributions` before positions are summed up, over all sites.

    Returns:
        The positions a weight is applied at -> effects [n, *positions, C], summed over all uses of
        as many positions. For a transformer these are (p,), the positions of its tokens, and (), if
        there is a head of one vector; for a convolution they are its groups and places. Everything
        together, summed over positions, is the effect of every component.
    """
    gradients = gradients_at([capture.y for capture in captures], outputs, chosen)
    effects: dict[tuple[int, ...], Tensor] = {}
    for g, (use, x, _) in zip(gradients, captures, strict=True):
        factors = components.factors[use.site]
        parts = (use.read(x, factors) * use.adjoint(g, factors)).sum(-1)
        places = tuple(parts.shape[1:-1])
        if places not in effects:
            effects[places] = parts.new_zeros(*parts.shape[:-1], components.count)
        effects[places].index_add_(-1, components.owners[use.site], parts)
    return effects


def rms_attributions(
    outputs: Float[Tensor, "n d"], captures: Sequence[Capture], components: Components
) -> Float[Tensor, "n C"]:
    """A_c = sqrt((1/d) sum_o (sum_l <d f_o / d W_l, P_c,l>)^2), the strength batch top-k ranks."""
    squares = squared_effects(outputs, captures, components, every_output(outputs))
    return (squares / outputs.shape[1]).sqrt()


def projected_attributions(
    outputs: Float[Tensor, "n d"],
    captures: Sequence[Capture],
    components: Components,
    signs: Float[Tensor, "R n d"],
) -> Float[Tensor, "n C"]:
    """An estimate of `rms_attributions` from random projections of the outputs.

    With e_o the effects on the outputs and s_ro independent signs, (1/R) sum_r (sum_o s_ro e_o)^2
    has mean sum_o e_o^2 and variance (2/R) ((sum_o e_o^2)^2 - sum_o e_o^4) (Hutchinson 1989, for
    the trace of e e^T). So the squares of what is returned are unbiased, at a cost that does not
    depend on d.

    Args:
        outputs: the target's outputs and captures, from `apd.hooks.capture`.
        signs: +1 or -1 with equal chances.
    """
    squares = squared_effects(outputs, captures, components, signs)
    return (squares / len(signs) / outputs.shape[1]).sqrt()


def squared_effects(
    outputs: Float[Tensor, "n d"],
    captures: Sequence[Capture],
    components: Components,
    directions: Float[Tensor, "k n d"],
) -> Float[Tensor, "n C"]:
    """The sum over directions of the squared effects on the outputs along them.

    One batched backward pass for as many directions as `gradients_along` takes at once.
    """
    ways = [effects_at(capture, components.factors[capture.use.site]) for capture in captures]
    total = outputs.new_zeros(len(outputs), components.count)
    places = [capture.y for capture in captures]
    for gradients in gradients_along(places, outputs, directions, max(w.numbers for w in ways)):
        total += summed(components, ways, gradients).square_().sum(0)
    return total
