"""Uses of a convolution's weight: a matrix applied to patches of the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from apd.convolution import along_channels, each_group, images, patches
from apd.products import products
from apd.sites.linear import outer, outer_each
from apd.sites.site import Factors, Use


@dataclass(frozen=True)
class ConvUse(Use):
    """y = convolution of x with W, and a bias, in one direction or two.

    As a matrix W is [o, i], i being the channels of one group times the kernel's size. It is
    applied to patches x [n, g, ..., i], with g groups and any number of positions; group j makes
    its share b = o / g of the output channels out of its own patches, so that rows j b to (j + 1) b
    of W meet nothing but group j. The output is [n, o, ...].

    Attributes:
        groups: g.
        directions: how many the kernel moves in, 1 or 2.
    """

    groups: int
    directions: int

    def operands(self, args: Sequence[Any]) -> tuple[Tensor, Tensor | None]:
        """(patches of x, bias) of conv(x, W, bias, stride, padding, dilation, groups)."""
        x, weight, *rest = args
        bias = None if not rest or rest[0] is None else along_channels(rest[0], self.directions)
        return patches(x, weight, *rest[1:]), bias

    def width(self, factors: Factors) -> int:
        """O / g."""
        return factors.U.shape[2] // self.groups

    def read(self, x: Float[Tensor, "n g ... i"], factors: Factors) -> Float[Tensor, "n g ... P m"]:
        """x . V[p, m]."""
        same = factors.V.flatten(0, 1).expand(self.groups, -1, -1)
        return each_group(x, same).unflatten(-1, factors.V.shape[:2])

    def write(self, r: Float[Tensor, "n g ... P m"], factors: Factors) -> Float[Tensor, "n o ..."]:
        """sum_pm r[p, m] U[p, m], every group along its own part of U."""
        return images(each_group(r.flatten(-2), self.parts(factors.U).mT))

    def adjoint(self, g: Float[Tensor, "..."], factors: Factors) -> Float[Tensor, "... P m"]:
        """g . U[p, m], every group with its own part of U: [..., o, *p] to [..., g, *p, P, m]."""
        vectors = self.vectors(g)
        ahead = vectors.shape[: -2 - self.directions]
        a = each_group(vectors.reshape(-1, *vectors.shape[len(ahead) :]), self.parts(factors.U))
        return a.unflatten(-1, factors.U.shape[:2]).unflatten(0, ahead)

    def gradient(
        self,
        x: Float[Tensor, "n g ... i"],
        g: Float[Tensor, "n o ..."],
        on: Float[Tensor, "n ... P 1"],
        factors: Factors,
    ) -> Factors:
        """U: sum_np on read(x)[p, m] g; V: sum_npj on adjoint(g)[p, m] x, over the groups j too."""
        r = (on * self.read(x, factors)).flatten(-2)
        rows, vectors = (t.transpose(0, 1).flatten(1, -2) for t in (r, self.vectors(g)))
        u = (rows.mT @ vectors).transpose(0, 1).flatten(1)
        return Factors(
            u.unflatten(0, factors.U.shape[:2]),
            outer(on * self.adjoint(g, factors), x),
        )

    def apply(
        self, x: Float[Tensor, "n g ... i"], weights: Float[Tensor, "n o i"]
    ) -> Float[Tensor, "n o ..."]:
        """The convolution of every input with its own weight."""
        own = weights.unflatten(1, (self.groups, -1)).flatten(0, 1)
        y = products(own, x.flatten(0, 1).flatten(1, -2))
        return y.reshape(*weights.shape[:2], *x.shape[2:-1]).contiguous()

    def slope(
        self, x: Float[Tensor, "n g ... i"], g: Float[Tensor, "k n o ..."]
    ) -> Float[Tensor, "k n o i"]:
        """sum_p g_p x_p^T, every group its own rows."""
        vectors = self.vectors(g).flatten(1, 2).flatten(2, -2)
        slopes = outer_each(vectors, x.flatten(0, 1).flatten(1, -2))
        return slopes.reshape(*g.shape[:3], x.shape[-1])

    def vectors(self, y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The output's numbers as a vector per group and position: [..., o, *p] to [..., g, *p, b].

        The inverse of `images`.
        """
        channels = -1 - self.directions
        return y.unflatten(channels, (self.groups, -1)).movedim(channels, -1)

    def parts(self, U: Float[Tensor, "P m o"]) -> Float[Tensor, "g _Cm b"]:
        """Every group's share of U, parts and their rank-one pieces in a row."""
        return U.flatten(0, 1).unflatten(1, (self.groups, -1)).transpose(0, 1)
