"""Strengths by pushing components forward through the target's linear maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from apd.components import Components
from apd.graph import Handler
from apd.sites import Use
from apd.strength.affine import Stage
from apd.strength.maps import Identity, Linear, Map
from apd.strength.strength import Strength

NUMBERS_AT_ONCE = 2**19


@dataclass(frozen=True)
class Forward(Strength):
    """Components pushed forward through the target's linear maps (`apd.strength.affine`).

    At a place k that linear maps lead to, component c moves the value by

        t[c] = sum_uses r[c] . B[c] + sum_calls t_h[c] J_h^T,    B[c, m] = U[c, m] J_use^T,

    r being what it reads off the input. At a nonlinear call t is multiplied by its slope. All r and
    all t so far are columns of one array, so that a place takes one product, with a matrix that is
    the same for all inputs. Neither gradients nor components' weights are formed.
    """

    stages: list[Stage]

    def __call__(
        self, components: Components, x: Shaped[Tensor, "n *shape"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n C"]]:
        """Exact, for a target that has stages."""
        outputs, reads, slopes = self.watch(components, x)
        at = columns(self.stages, {node: r.shape[2] for node, r in reads.items()})
        *maps, last = [self.map_to(stage, at, components) for stage in self.stages]
        width = max(own.stop for own in at.values())
        rows = min(len(x), max(1, NUMBERS_AT_ONCE // (width * components.count)))
        space = outputs.new_empty(components.count, rows, width)
        squares = outputs.new_empty(components.count, len(x))
        for start in range(0, len(x), rows):
            part = slice(start, start + rows)
            t = space[:, : len(x[part])]
            for node, r in reads.items():
                t[..., at[node]] = r[part].transpose(0, 1)
            for stage, lead in zip(self.stages[:-1], maps, strict=True):
                torch.mul(lead(t), slopes[stage.node][part], out=t[..., at[stage.node]])
            squares[:, part] = last.squared_norms(t)
        return outputs, (squares.T / outputs.shape[1]).sqrt_()

    def map_to(self, stage: Stage, at: dict[str, slice], components: Components) -> Map:
        """How columns lead to a stage."""
        sources = [at[node] for node in (*stage.uses, *stage.calls)]
        span = slice(min(own.start for own in sources), max(own.stop for own in sources))
        if stage.direct:
            return Identity(span)
        uses = {use.node: use for use in self.target.uses}
        like: Any = {"dtype": self.target.dtype, "device": self.target.device}
        own = (components.count,) if stage.uses else ()
        matrix = torch.zeros(*own, span.stop - span.start, stage.width, **like)

        def rows(node: str) -> Tensor:
            return matrix[..., at[node].start - span.start : at[node].stop - span.start, :]

        for node, jacobian in stage.uses.items():
            basis = uses[node].adjoint(jacobian, components.factors[uses[node].site])
            rows(node).copy_(basis.permute(1, 2, 0))
        for node, jacobian in stage.calls.items():
            rows(node).copy_(jacobian.T)
        return Linear(span, matrix)

    def multiplications(self, ranks: Mapping[str, int]) -> int:
        """How many it takes per input and component: columns times the values they lead to.

        At the outputs no more than columns times columns (`apd.strength.maps.Linear`).

        Args:
            ranks: what a component reads at every use.
        """
        total = 0
        for stage in self.stages:
            columns = sum(jacobian.shape[1] for jacobian in stage.calls.values())
            columns += sum(ranks[node] for node in stage.uses)
            values = stage.width if stage.node else min(stage.width, columns)
            total += 0 if stage.direct else columns * values
        return total

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


def columns(stages: list[Stage], ranks: dict[str, int]) -> dict[str, slice]:
    """Columns for what is read at every use and moved before every call, in the order of stages.

    What is read lies next to where it is first needed, so that little is between.
    """
    widths: dict[str, int] = {}
    for stage in stages:
        widths |= {node: ranks[node] for node in stage.uses}
        widths[stage.node] = stage.width
    del widths[stages[-1].node]
    stops = accumulate(widths.values())
    return {
        node: slice(stop - width, stop)
        for (node, width), stop in zip(widths.items(), stops, strict=True)
    }
