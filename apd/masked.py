"""The masked pass: every input run on its active components alone."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from apd.components import Components
from apd.graph import Handler
from apd.hooks import Capture, add, replace
from apd.pairs import Pairs
from apd.routes import masked_through_weights, mixtures, through_weights
from apd.sites import Factors, Use
from apd.target import Target


def masked_outputs(
    target: Target, components: Components, x: Shaped[Tensor, "n *shape"], pairs: Pairs
) -> Float[Tensor, "n d"]:
    """f(x; kappa(x)): the outputs when every input is run on its active components alone."""
    return replace(target, x, call_of(components, pairs))


def masked_captures(
    background: Target, components: Components, x: Shaped[Tensor, "n *shape"], pairs: Pairs
) -> tuple[Float[Tensor, "n d"], list[Capture]]:
    """The same on top of other weights, and what is read and written at every use on the way.

    Args:
        background: the network with what every input is run on beside its active components. The
            outputs are differentiable with respect to its weights, and to every captured y, where
            these ask for gradients.
        components: of the network.
        x: inputs.
        pairs: which components are active.
    """
    return add(background, x, call_of(components, pairs))


def call_of(components: Components, pairs: Pairs) -> Callable[[Use, Tensor], Tensor]:
    """What the active components make of what a use reads."""
    parts = {site: pairs.of_parts(owner) for site, owner in components.owners.items()}
    return lambda use, x: masked_call(use, x, components.factors[use.site], parts[use.site])


def own_outputs(
    target: Target, x: Shaped[Tensor, "n *shape"], nodes: Collection[str]
) -> dict[str, Tensor]:
    """What the target itself computes at some uses, biases aside as in the masked pass.

    Args:
        target: the network.
        x: inputs.
        nodes: the uses meant, by their nodes; with none the network is not run.
    """
    found: dict[str, Tensor] = {}

    def watch(use: Use) -> Handler:
        def call(operator: Callable[..., Tensor], *args: Any) -> Tensor:
            y = operator(*args)
            _, bias = use.operands(args)
            found[use.node] = y if bias is None else y - bias
            return y

        return call

    if nodes:
        target.run(x, {use.node: watch(use) for use in target.uses if use.node in nodes})
    return found


def masked_call(
    use: Use, x: Float[Tensor, "n ... a"], factors: Factors, pairs: Pairs
) -> Float[Tensor, "n ..."]:
    """A call's output on the active parts alone."""
    if masked_through_weights(use, x, factors, pairs):
        return use.apply(x, mixtures(pairs.columns(), factors))
    return call_of_parts(use, x, factors, pairs)


def call_of_parts(
    use: Use, x: Float[Tensor, "n ... a"], factors: Factors, pairs: Pairs
) -> Float[Tensor, "n ..."]:
    """The same, worked out for the active pairs alone."""
    busy = chosen(factors, pairs.busy)
    y = use.write(use.read(x, busy) * beside(pairs.mask, x), busy)
    if pairs.rows.shape[1] == 0:
        return y

    def written(x: Tensor, on: Tensor, u: Tensor, v: Tensor) -> Tensor:
        own = Factors(u[None], v[None])
        return use.write(use.read(x, own) * on, own)

    own = torch.vmap(written)(pairs.gather(x), beside(pairs.on[..., None], x), *factors)
    return y.index_add(0, pairs.rows.flatten(), own.flatten(0, 1))


def masked_gradient(
    use: Use,
    x: Float[Tensor, "n ... a"],
    g: Float[Tensor, "n ..."],
    factors: Factors,
    pairs: Pairs,
) -> Factors:
    """The gradient of sum(g * masked_call(x)) with respect to the factors."""
    if masked_through_weights(use, x, factors, pairs):
        return through_weights(pairs.columns(), use.slope(x, g[None])[0], factors)
    return gradient_of_parts(use, x, g, factors, pairs)


def gradient_of_parts(
    use: Use,
    x: Float[Tensor, "n ... a"],
    g: Float[Tensor, "n ..."],
    factors: Factors,
    pairs: Pairs,
) -> Factors:
    """The same, worked out for the active pairs alone."""
    busy = use.gradient(x, g, beside(pairs.mask, x), chosen(factors, pairs.busy))
    if pairs.rows.shape[1] == 0 and len(pairs.busy) == len(factors.U):
        return busy

    def gradient(x: Tensor, g: Tensor, on: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        own = use.gradient(x, g, on, Factors(u[None], v[None]))
        return own.U[0], own.V[0]

    on = beside(pairs.on[..., None], x)
    own = Factors(*torch.vmap(gradient)(pairs.gather(x), pairs.gather(g), on, *factors))
    own.U.index_add_(0, pairs.busy, busy.U)
    own.V.index_add_(0, pairs.busy, busy.V)
    return own


def chosen(factors: Factors, busy: Tensor) -> Factors:
    """The factors of the busy components; all of them as they are, without a copy."""
    return factors if len(busy) == len(factors.U) else factors.of(busy)


def beside(on: Float[Tensor, "*n P"], x: Float[Tensor, "n ... a"]) -> Float[Tensor, "*n ... P 1"]:
    """A mask shaped to multiply what parts read off x, alike at all positions."""
    return on.view(*on.shape[:-1], *[1] * (x.ndim - 2), on.shape[-1], 1)
