"""First-order effects of components on outputs, from inner activations only.

The effect of component c on an output f_o is <d f_o / d W, P_c> (APD, arXiv 2501.14926, appendix
A). At one use with input x and output gradient g it is sum_m read(x)[c, m] * adjoint(g)[c, m];
uses of one site add up, and so do positions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from apd.components import Components
from apd.hooks import Capture
from apd.routes import effects_through_weights, projections
from apd.sites import Factors, Use

NUMBERS_AT_ONCE = 2**21
MOST_GRADIENTS = 2**25


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


def gradients_at(
    places: Sequence[Tensor], outputs: Float[Tensor, "n d"], chosen: Int[Tensor, "n"]
) -> tuple[Tensor, ...]:
    """The gradients of one chosen output of each input, zero at places that play no part in it.

    Args:
        places: what `outputs` have been made of.
        outputs: of a network.
        chosen: the output meant, for every input.
    """
    selected = outputs.gather(1, chosen[:, None]).sum()
    return torch.autograd.grad(selected, places, materialize_grads=True)


def effects_of_sites(
    captures: Sequence[Capture], gradients: Sequence[Tensor], components: Components
) -> Float[Tensor, "n L C"]:
    """Effects of every component, per site, on what has these gradients at every use's output."""
    first = gradients[0]
    effects = {site: first.new_zeros(len(first), components.count) for site in components.factors}
    for g, capture in zip(gradients, captures, strict=True):
        site = capture.use.site
        effects[site] += effects_at(capture, components.factors[site])(g[None])[0]
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
        effects[places] = effects[places] + parts if places in effects else parts
    return effects


def rms_attributions(
    outputs: Float[Tensor, "n d"], captures: Sequence[Capture], components: Components
) -> Float[Tensor, "n C"]:
    """A_c = sqrt((1/d) sum_o (sum_l <d f_o / d W_l, P_c,l>)^2), the strength batch top-k ranks."""
    squares = squared_effects(outputs, captures, components, every_output(outputs))
    return (squares / outputs.shape[1]).sqrt()


def every_output(outputs: Float[Tensor, "n d"]) -> Float[Tensor, "d n d"]:
    """The directions of the outputs themselves."""
    n, d = outputs.shape
    eye = torch.eye(d, dtype=outputs.dtype, device=outputs.device)
    return eye[:, None].expand(d, n, d)


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


def random_signs(
    count: int, outputs: Float[Tensor, "n d"], generator: torch.Generator
) -> Float[Tensor, "{count} n d"]:
    """+1 or -1 with equal chances, independently; what is random is drawn on the CPU."""
    coins = torch.randint(2, (count, *outputs.shape), generator=generator)
    return 2 * coins.to(outputs) - 1


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
        effects = [way(g) for way, g in zip(ways, gradients, strict=True)]
        total += torch.stack(effects).sum(0).square().sum(0)
    return total


def gradients_along(
    places: Sequence[Tensor],
    outputs: Float[Tensor, "n d"],
    directions: Float[Tensor, "k n d"],
    numbers: int,
) -> Iterator[tuple[Tensor, ...]]:
    """The gradients of the outputs along directions, [some, n, ...] at a time.

    Args:
        places: what `outputs` have been made of.
        outputs: of a network.
        directions: along which to differentiate.
        numbers: how many it takes to work with one direction; there are `NUMBERS_AT_ONCE` at once,
            and no more than `MOST_GRADIENTS` in all of the gradients.
    """
    fitting = MOST_GRADIENTS // sum(place.numel() for place in places)
    for some in directions.split(max(1, min(NUMBERS_AT_ONCE // numbers, fitting))):
        yield gradients_at_once(places, outputs, some)


def gradients_at_once(
    places: Sequence[Tensor], outputs: Float[Tensor, "n d"], directions: Float[Tensor, "k n d"]
) -> tuple[Tensor, ...]:
    """The gradients of the outputs along all directions, [k, n, ...]; zero where there is no way.

    Args:
        places: what `outputs` have been made of.
        outputs: of a network; the graph is kept.
        directions: along which to differentiate.
    """
    found = torch.autograd.grad(
        outputs, places, directions, retain_graph=True, is_grads_batched=True, allow_unused=True
    )
    known = cast("tuple[Tensor | None, ...]", found)
    return tuple(
        place.new_zeros(len(directions), *place.shape) if g is None else g
        for g, place in zip(known, places, strict=True)
    )


@dataclass(frozen=True)
class Effects(ABC):
    """Effects of components through one use, from the gradients at its output.

    Attributes:
        use: the call.
        x: the vectors its weight was applied to, [n, ..., a].
        factors: of the components at its site.
    """

    use: Use
    x: Tensor
    factors: Factors

    @property
    @abstractmethod
    def numbers(self) -> int:
        """How many numbers it takes to work them out for one scalar."""

    @abstractmethod
    def __call__(self, g: Float[Tensor, "k n ..."]) -> Float[Tensor, "k n C"]:
        """Effects on k scalars."""


class ThroughParts(Effects):
    """Sum over positions and m of read times adjoint."""

    @cached_property
    def read(self) -> Float[Tensor, "n ... C m"]:
        """What is the same for all scalars."""
        return self.use.read(self.x, self.factors)

    @property
    def numbers(self) -> int:
        """As many as are read."""
        return self.read.numel()

    def __call__(self, g: Float[Tensor, "k n ..."]) -> Float[Tensor, "k n C"]:
        """Effects on k scalars."""
        parts = torch.einsum("n...m,kn...m->kn...", self.read, self.use.adjoint(g, self.factors))
        return parts.flatten(2, -2).sum(2) if parts.ndim > 3 else parts


class ThroughWeights(Effects):
    """Inner products of components' weights with the gradient at every input's own weight."""

    @property
    def numbers(self) -> int:
        """As many as the larger of the weights and the vectors of all inputs have."""
        size = self.factors.U.shape[2] * self.factors.V.shape[2]
        return max(len(self.x) * size, self.x.numel())

    def __call__(self, g: Float[Tensor, "k n ..."]) -> Float[Tensor, "k n C"]:
        """Effects on k scalars."""
        return projections(self.use.slope(self.x, g), self.factors)


def effects_at(capture: Capture, factors: Factors) -> Effects:
    """The cheaper way to the effects through one use."""
    use, x, _ = capture
    way = ThroughWeights if effects_through_weights(use, x, factors) else ThroughParts
    return way(use, x, factors)
