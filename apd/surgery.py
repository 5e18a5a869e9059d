"""The target with components removed, or with some of them and nothing else, as a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import index

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from apd.components import Components
from apd.errors import ComponentError
from apd.graph import ROW_BY_ROW, Handler
from apd.module_tensors import hold
from apd.target import Target


class Operated(nn.Module):
    """The target with other weights at its sites: a network of its own, sharing nothing with it.

    The sites are parameters and everything else the target holds is a buffer, all under the dotted
    names they have in the target; so its `state_dict` loads into the module the target was made of,
    but for buffers which that keeps out of its own (`strict=False` leaves these alone). It can be
    trained, saved, exported and decomposed as any network can. Its products are the library's own,
    which round otherwise than the target's (`apd.products`).
    """

    def __init__(self, target: Target, weights: Mapping[str, Float[Tensor, "_o _i"]]) -> None:
        super().__init__()
        self._graph = target.graph
        for name, tensor in target.with_weights(weights).state.items():
            own = tensor.detach().clone(memory_format=torch.contiguous_format)
            hold(self, name, nn.Parameter(own) if name in target.sites else own)

    def forward(self, x: Shaped[Tensor, "n *shape"]) -> Float[Tensor, "n d"]:
        """The outputs, differentiable with respect to the parameters."""
        state = {**dict(self.named_buffers()), **dict(self.named_parameters())}
        calls = {n.name: library(n.op) for n in self._graph.nodes if n.op in ROW_BY_ROW}
        return self._graph.run(state, x, calls)


def library(op: str) -> Handler:
    """The library's own operator of a name, in place of the one a graph calls."""
    _, name, overload = op.split(".")
    own = getattr(getattr(torch.ops.aten, name), overload)
    return lambda _, *args: own(*args)


def ablate(target: Target, components: Components, chosen: Iterable[int]) -> Operated:
    """The target without the chosen components: weights theta* - sum P_c over those.

    Raises:
        ComponentError: one of them is not there.
    """
    removed = sum_of(components, chosen)
    return Operated(target, {site: target.weight(site) - p for site, p in removed.items()})


def only(target: Target, components: Components, chosen: Iterable[int]) -> Operated:
    """The target on the chosen components alone: weights sum P_c over those, no residual.

    Raises:
        ComponentError: one of them is not there.
    """
    return Operated(target, sum_of(components, chosen))


def sum_of(components: Components, chosen: Iterable[int]) -> dict[str, Float[Tensor, "_o _i"]]:
    """sum P_c over the chosen components, each counted once, at every site.

    Raises:
        ComponentError: one of them is not there.
    """
    numbers = sorted({index(c) for c in chosen})
    for c in numbers:
        if not 0 <= c < components.count:
            raise ComponentError(
                f"there is no component {c}; they are numbered 0 to {components.count - 1}"
            )
    device = next(iter(components.owners.values())).device
    return components.some(torch.tensor(numbers, dtype=torch.int64).to(device)).sum()
