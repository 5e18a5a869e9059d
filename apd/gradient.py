"""The gradient of the training loss, a block of components at a time.

A component meets the others only in the gap they leave at a site and in the error of the outputs.
Both gradients are the same for all components, so with them in hand every block's own is worked
out, used and forgotten, and no more than one block's is ever in memory.
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
class Gradient:
    """What the gradient at any component depends on.

    Attributes:
        sums: the faithfulness loss's gradient at the sum of the components, per site.
        captures: every use in the masked pass.
        outputs: the minimality loss's gradient at the output of each of them.
        pairs: which components were active on which inputs.
        shrinking: the simplicity loss's gradient as multiples of U and of V, per site.
    """

    sums: Mapping[str, Float[Tensor, "_o _i"]]
    captures: Sequence[Capture]
    outputs: Sequence[Tensor]
    pairs: Pairs
    shrinking: Mapping[str, tuple[Float[Tensor, "C _m"], Float[Tensor, "C _m"]]]

    def at(self, site: str, factors: Factors, block: slice) -> Factors:
        """The gradient at one site's factors, for a block of components."""
        own, pairs = factors.of(block), self.pairs.block(block)
        met = [
            masked_gradient(use, x, g, own, pairs)
            for (use, x, _), g in zip(self.captures, self.outputs, strict=True)
            if use.site == site
        ]
        (u, v), *others = met
        for other in others:
            u += other.U
            v += other.V
        u.flatten(0, 1).addmm_(own.V.flatten(0, 1), self.sums[site].T)
        v.flatten(0, 1).addmm_(own.U.flatten(0, 1), self.sums[site])
        by_u, by_v = self.shrinking[site]
        u.addcmul_(own.U, by_u[block, :, None])
        v.addcmul_(own.V, by_v[block, :, None])
        return Factors(u, v)
