"""Uses of a table: rows of a matrix, looked up by whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from apd.sites.linear import TransposedUse, onto, outer
from apd.sites.site import Factors


@dataclass(frozen=True)
class EmbeddingUse(TransposedUse):
    """y = the rows of W [o, i] that ids name: x W with one-hot x, which is never formed.

    The vectors it is applied to are the ids alone, x [n, ..., 1], as floats, which hold whole
    numbers exactly up to 2^24 and more. The output is [n, ..., i]. A padding id's row is a row like
    any other, as it is in the forward pass.

    Attributes:
        rows: o, how many rows the table has.
    """

    rows: int

    def operands(self, args: Sequence[Any]) -> tuple[Tensor, Tensor | None]:
        """(ids, nothing) of embedding(W, ids) or W[ids], where ids may count from the end."""
        weight, ids, *_ = args
        ids = ids[0] if isinstance(ids, list) else ids
        return ids.remainder(self.rows)[..., None].to(weight.dtype), None

    def read(self, x: Float[Tensor, "n ... 1"], factors: Factors) -> Float[Tensor, "n ... P m"]:
        """U[c, m, id]."""
        parts = factors.U.flatten(0, 1).T[ids_of(x)].contiguous()
        return parts.unflatten(-1, factors.U.shape[:2])

    def gradient(
        self,
        x: Float[Tensor, "n ... 1"],
        g: Float[Tensor, "n ... i"],
        on: Float[Tensor, "n ... P 1"],
        factors: Factors,
    ) -> Factors:
        """V: sum_n on read(x)[p, m] g; U: sum of on adjoint(g)[p, m] where the id is that row."""
        moved = (on * onto(g, factors.V)).flatten(-2).flatten(0, -2).T
        u = moved.new_zeros(len(moved), self.rows)
        u = u.scatter_add(1, ids_of(x).flatten().expand(len(moved), -1), moved)
        return Factors(
            u.unflatten(0, factors.U.shape[:2]),
            outer(on * self.read(x, factors), g),
        )

    def apply(
        self, x: Float[Tensor, "n ... 1"], weights: Float[Tensor, "n o i"]
    ) -> Float[Tensor, "n ... i"]:
        """Every input's rows of its own table."""
        ids = ids_of(x).flatten(1)[..., None].expand(-1, -1, weights.shape[2])
        return weights.gather(1, ids).view(*x.shape[:-1], -1)

    def slope(
        self, x: Float[Tensor, "n ... 1"], g: Float[Tensor, "k n ... i"]
    ) -> Float[Tensor, "k n o i"]:
        """Per row of the table, the sum of g where the id is that row."""
        vectors = g[:, :, None].flatten(2, -2)
        ids = ids_of(x).flatten(1)[..., None].expand(vectors.shape)
        slopes = vectors.new_zeros(*g.shape[:2], self.rows, g.shape[-1])
        return slopes.scatter_add(2, ids, vectors)


def ids_of(x: Float[Tensor, "n ... 1"]) -> Int[Tensor, "n ..."]:
    """Whole numbers, out of the floats that hold them."""
    return x[..., 0].long()
