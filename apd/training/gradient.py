"""The gradient of the training loss, a block of components at a time.

A component meets the others only in their sums at a site and in what passes through the network
come to. Both gradients are the same for all components, so with them in hand every block's own is
worked out, used and forgotten, and no more than one block's is ever in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from apd.hooks import Capture
from apd.masked import masked_gradient
from apd.pairs import Pairs
from apd.sites import Factors


@dataclass(frozen=True)
class Pass:
    """One pass through the network, and what the loss makes of it.

    Attributes:
        captures: every use in the pass.
        outputs: the loss's gradient at the output of each of them.
        pairs: which components every input was run on, and by what factor.
    """

    captures: Sequence[Capture]
    outputs: Sequence[Tensor]
    pairs: Pairs

    def at(self, site: str, own: Factors, block: slice) -> list[Factors]:
        """The gradient at a block of one site's components, use by use."""
        pairs = self.pairs.block(block)
        return [
            masked_gradient(use, x, g, own, pairs)
            for (use, x, _), g in zip(self.captures, self.outputs, strict=True)
            if use.site == site
        ]


@dataclass(frozen=True)
class Mixture:
    """A sum of all components, each by a share, and what the loss makes of it.

    Attributes:
        shares: how much of every component is in it.
        weights: the loss's gradient at it, per site.
    """

    shares: Float[Tensor, "C"]
    weights: Mapping[str, Float[Tensor, "_o _i"]]

    def at(self, site: str, own: Factors, block: slice) -> Factors:
        """The gradient at a block of one site's components."""
        shares, gradient = self.shares[block, None, None], self.weights[site]
        return Factors(shares * own.V @ gradient.T, shares * own.U @ gradient)


@dataclass(frozen=True)
class Gradient:
    """What the gradient at any component depends on.

    Attributes:
        mixtures: the sum of all components, and what stays of them in the masked pass.
        passes: the masked pass, and whatever else the loss depends on.
        shrinking: the simplicity loss's gradient as multiples of U and of V, per site.
    """

    mixtures: Sequence[Mixture]
    passes: Sequence[Pass]
    shrinking: Mapping[str, tuple[Float[Tensor, "C _m"], Float[Tensor, "C _m"]]]

    def at(self, site: str, factors: Factors, block: slice) -> Factors:
        """The gradient at one site's factors, for a block of components."""
        own = factors.of(block)
        (u, v), *others = [part for each in self.passes for part in each.at(site, own, block)]
        for other in (*others, *(mixture.at(site, own, block) for mixture in self.mixtures)):
            u += other.U
            v += other.V
        by_u, by_v = self.shrinking[site]
        u.addcmul_(own.U, by_u[block, :, None])
        v.addcmul_(own.V, by_v[block, :, None])
        return Factors(u, v)
