"""How strongly every component acts on every input: A_c(x), worked out the cheapest way.

`Backward` is exact for any network, at a cost that grows with the outputs; `Forward` is exact for
networks of vectors with elementwise nonlinearities, at a cost that does not grow with the outputs
where they lie behind a narrow layer; `Projected` estimates, at a cost that is flat in the outputs.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from apd.affine import Stage, stages
from apd.attribution import projected_attributions, rms_attributions
from apd.components import Components
from apd.graph import Handler
from apd.hooks import capture
from apd.output_gradients import random_signs
from apd.sites import Use
from apd.target import Target

NUMBERS_AT_ONCE = 2**19
MOST_PASSES = 64
PROJECTIONS = 8


@dataclass(frozen=True)
class Strength(ABC):
    """A way to work out A_c = sqrt((1/d) sum_o (sum_l <d f_o / d W_l, P_c,l>)^2)."""

    target: Target

    @abstractmethod
    def __call__(
        self, components: Components, x: Shaped[Tensor, "n *shape"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n C"]]:
        """The target's outputs, and the strength of every component on every input."""


class Backward(Strength):
    """One backward pass per output, many at once."""

    def __call__(
        self, components: Components, x: Shaped[Tensor, "n *shape"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n C"]]:
        """Exact, for any target."""
        outputs, captures = capture(self.target, x)
        return outputs.detach(), rms_attributions(outputs, captures, components)


@dataclass(frozen=True)
class Projected(Strength):
    """One backward pass per random projection of the outputs.

    Attributes:
        projections: how many.
    """

    projections: int

    def __call__(
        self, components: Components, x: Shaped[Tensor, "n *shape"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n C"]]:
        """Unbiased in the squares; `projected_attributions` gives their variance."""
        outputs, captures = capture(self.target, x)
        signs = random_signs(self.projections, outputs, generator)
        return outputs.detach(), projected_attributions(outputs, captures, components, signs)


@dataclass(frozen=True)
class Forward(Strength):
    """Components pushed forward through the target's linear maps (`apd.affine`).

    At a place k that linear maps lead to, component c moves the value by

        t[c] = sum_uses r[c] . B[c] + sum_calls t_h[c] J_h^T,    B[c, m] = U[c, m] J_use^T,

    r being what it reads off the input. At a nonlinear call t is multiplied by its slope. Neither
    gradients nor components' weights are formed, and B is the same for all inputs.
    """

    stages: list[Stage]

    def __call__(
        self, components: Components, x: Shaped[Tensor, "n *shape"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n C"]]:
        """Exact, for a target that has stages."""
        uses = {use.node: use for use in self.target.uses}
        bases = [
            {
                node: uses[node].adjoint(jacobian, components.factors[uses[node].site])
                for node, jacobian in place.uses.items()
            }
            for place in self.stages
        ]
        outputs, reads, slopes = self.watch(components, x)
        widest = max(place.width for place in self.stages)
        rows = min(len(x), max(1, NUMBERS_AT_ONCE // (widest * components.count)))
        space = [outputs.new_empty(components.count * rows * s.width) for s in self.stages]
        effects = [
            self.norms(
                bases,
                space,
                {k: r[part] for k, r in reads.items()},
                {k: s[part] for k, s in slopes.items()},
            )
            for part in [slice(i, i + rows) for i in range(0, len(x), rows)]
        ]
        return outputs, torch.cat(effects) / math.sqrt(outputs.shape[1])

    def norms(
        self,
        bases: list[dict[str, Float[Tensor, "_k C _m"]]],
        space: list[Float[Tensor, "_size"]],
        reads: dict[str, Float[Tensor, "n C _m"]],
        slopes: dict[str, Float[Tensor, "n _k"]],
    ) -> Float[Tensor, "n C"]:
        """sqrt(sum_o of the squared effects) for some of the inputs, in the space given."""
        n, C, _ = next(iter(reads.values())).shape
        moved: dict[str, Tensor] = {}
        t = space[0]
        for place, basis, room in zip(self.stages, bases, space, strict=True):
            room = room[: C * n * place.width].view(C, n, place.width)
            t = reach(place, {node: (reads[node], b) for node, b in basis.items()}, moved, room)
            if place.node in slopes:
                moved[place.node] = torch.mul(t, slopes[place.node], out=room)
        squares = t.view(C * n, -1).square_() @ t.new_ones(t.shape[-1])
        return squares.sqrt_().view(C, n).T

    def watch(
        self, components: Components, x: Shaped[Tensor, "n *shape"]
    ) -> tuple[Float[Tensor, "n d"], dict[str, Tensor], dict[str, Tensor]]:
        """Outputs, what every use's components read [n, C, m], every nonlinear call's slope."""
        reads: dict[str, Tensor] = {}
        slopes: dict[str, Tensor] = {}

        def read(use: Use) -> Handler:
            def call(operator: Callable[..., Tensor], *args: Any) -> Tensor:
                operand, _ = use.operands(args)
                reads[use.node] = use.read(operand, components.factors[use.site])
                return operator(*args)

            return call

        def slope(node: str) -> Handler:
            def call(operator: Callable[..., Tensor], k: Tensor, *args: Any, **kw: Any) -> Tensor:
                with torch.enable_grad():
                    leaf = k.detach().requires_grad_()
                    y = operator(leaf, *args, **kw)
                    (slopes[node],) = torch.autograd.grad(y.sum(), leaf)
                return y.detach()

            return call

        handlers = {use.node: read(use) for use in self.target.uses}
        handlers |= {place.node: slope(place.node) for place in self.stages[:-1]}
        return self.target.run(x, handlers), reads, slopes


def reach(
    place: Stage,
    uses: dict[str, tuple[Float[Tensor, "n C _m"], Float[Tensor, "k C _m"]]],
    moved: dict[str, Float[Tensor, "C n _h"]],
    room: Float[Tensor, "C n k"],
) -> Float[Tensor, "C n k"]:
    """What every component moves a place by, from what it read and from what it moved before.

    Returns:
        `room`, filled; or what an earlier call was moved by, where that is all there is.
    """
    products = [(r.transpose(0, 1), basis.permute(1, 2, 0)) for r, basis in uses.values()]
    products += [
        (moved[call], jacobian.T.expand(len(room), -1, -1))
        for call, jacobian in place.calls.items()
        if jacobian is not None
    ]
    whole = [moved[call] for call, jacobian in place.calls.items() if jacobian is None]
    if not products and len(whole) == 1:
        return whole[0]
    for i, (left, right) in enumerate(products):
        torch.baddbmm(room, left, right, beta=float(i > 0), out=room)
    for t in whole:
        room += t
    return room


def strength_of(
    target: Target,
    components: Components,
    row: Shaped[Tensor, "1 *shape"],
    projections: int | None,
) -> Strength:
    """The way asked for, else the exact way with fewer multiplications per pair.

    Args:
        target: the network.
        components: any of the sizes meant.
        row: any one input.
        projections: how many random projections to estimate from; None: be exact, but for a target
            of more than `MOST_PASSES` outputs that each take a backward pass: estimate it from
            `PROJECTIONS`.
    """
    if projections is not None:
        return Projected(target, projections)
    d = target(row).shape[1]
    backward_way = Projected(target, PROJECTIONS) if d > MOST_PASSES else Backward(target)
    places = stages(target, row)
    if places is None:
        return backward_way
    ranks = {use.node: components.factors[use.site].U.shape[1] for use in target.uses}
    between = sum(
        jacobian.numel()
        for place in places
        for jacobian in place.calls.values()
        if jacobian is not None
    )
    from_uses = sum(place.width * ranks[node] for place in places for node in place.uses)
    gradients = sum(
        {node: ranks[node] * map.shape[1] for p in places for node, map in p.uses.items()}.values()
    )
    forward = from_uses + between
    backward = d * (gradients + between / components.count)
    return Forward(target, places) if forward < backward else backward_way
