"""The active (input, component) pairs of a batch, laid out for work on them alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

GATHERING = 16


def cost(in_place: int, gathered: int, rank: int) -> int:
    """What working on pairs costs, in multiplications per number of their inputs and outputs."""
    return rank * (in_place + gathered) + GATHERING * gathered


@dataclass(frozen=True)
class Pairs:
    """A mask taken apart into a few busy components and the many that are seldom active.

    A seldom active component has its own list of inputs, filled up to the longest list with pairs
    that are off. A busy one would make every list as long as its own, so it is taken on all inputs
    with its column of the mask. Where to draw the line is decided from the densities found, by what
    the pairs cost: in products each as much as the component's rank, and `GATHERING` more to copy
    one input from its place. A dense mask makes all components busy.

    Attributes:
        rows: the inputs of every component; empty for a busy one.
        on: 1 where the pair is active, 0 where it only fills up.
        busy: the busy components, in ascending order.
        mask: their columns of the mask.
    """

    rows: Int[Tensor, "C K"]
    on: Float[Tensor, "C K"]
    busy: Int[Tensor, "H"]
    mask: Float[Tensor, "n H"]

    @classmethod
    def of(cls, mask: Bool[Tensor, "n C"], dtype: torch.dtype, rank: int) -> Pairs:
        """Take a mask apart at the least cost, for components of some rank."""
        n, C = mask.shape
        counts = mask.sum(0)
        order = counts.argsort(descending=True, stable=True)
        longest = [*counts[order].tolist(), 0]
        split = min(range(C + 1), key=lambda h: cost(n * h, C * longest[h], rank))
        busy = order[:split].sort().values
        columns = mask[:, busy].to(dtype)
        light = mask.T.clone()
        light[busy] = False
        component, row = light.nonzero(as_tuple=True)
        counts[busy] = 0
        place = torch.arange(len(row), device=mask.device) - (counts.cumsum(0) - counts)[component]
        rows = torch.zeros(C, longest[split], dtype=torch.int64, device=mask.device)
        on = torch.zeros(C, longest[split], dtype=dtype, device=mask.device)
        rows[component, place] = row
        on[component, place] = 1
        return cls(rows, on, busy, columns)

    @classmethod
    def dense(cls, mask: Bool[Tensor, "n C"], dtype: torch.dtype) -> Pairs:
        """All pairs, whatever the mask: what is worked on does not depend on which are active."""
        nobody = torch.zeros(mask.shape[1], 0, dtype=torch.int64, device=mask.device)
        everyone = torch.arange(mask.shape[1], device=mask.device)
        return cls(nobody, nobody.to(dtype), everyone, mask.to(dtype))

    def columns(self) -> Float[Tensor, "n C"]:
        """The mask, put together again."""
        C, n = len(self.rows), len(self.mask)
        mask = self.mask.new_zeros(C, n).scatter_add_(1, self.rows, self.on)
        return mask.index_copy_(0, self.busy, self.mask.T).T

    def times(self, factors: Float[Tensor, "C"]) -> Pairs:
        """The same pairs, every component's by a factor."""
        return replace(self, on=self.on * factors[:, None], mask=self.mask * factors[self.busy])

    def of_parts(self, owners: Int[Tensor, "P"]) -> Pairs:
        """The pairs of parts that are active where their components are."""
        places = torch.full((len(self.rows),), -1, device=self.busy.device)
        places[self.busy] = torch.arange(len(self.busy), device=self.busy.device)
        own = places[owners]
        busy = own >= 0
        return Pairs(
            self.rows[owners], self.on[owners], busy.nonzero().flatten(), self.mask[:, own[busy]]
        )

    def block(self, components: slice) -> Pairs:
        """The pairs of a block of components, whose numbers then start at 0."""
        first, last = torch.searchsorted(
            self.busy, torch.tensor([components.start, components.stop], device=self.busy.device)
        ).tolist()
        return Pairs(
            self.rows[components],
            self.on[components],
            self.busy[first:last] - components.start,
            self.mask[:, first:last],
        )

    def gather(self, x: Shaped[Tensor, "n *shape"]) -> Shaped[Tensor, "C K *shape"]:
        """Every component's own inputs."""
        return x.index_select(0, self.rows.flatten()).unflatten(0, self.rows.shape)
