"""Uses of a matrix: y = x W^T + b, and y = x W + b where it is applied transposed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from apd.products import product, products
from apd.sites.site import Factors, Side, Use


@dataclass(frozen=True)
class LinearUse(Use):
    """y = x W^T + b, with W [o, i], x [n, ..., i], y [n, ..., o]."""

    def operands(self, args: Sequence[Any]) -> tuple[Tensor, Tensor | None]:
        """(x, bias) of linear(x, W, bias) or matmul(x, W^T)."""
        return args[0], args[2] if len(args) > 2 else None

    def width(self, factors: Factors) -> int:
        """O."""
        return factors.U.shape[2]

    def read(self, x: Float[Tensor, "n ... i"], factors: Factors) -> Float[Tensor, "n ... P m"]:
        """x . V[p, m]."""
        return onto(x, factors.V)

    def write(self, r: Float[Tensor, "n ... P m"], factors: Factors) -> Float[Tensor, "n ... o"]:
        """sum_pm r[p, m] U[p, m]."""
        return along(r, factors.U)

    def adjoint(self, g: Float[Tensor, "... o"], factors: Factors) -> Float[Tensor, "... P m"]:
        """g . U[p, m]."""
        return onto(g, factors.U)

    def gradient(
        self,
        x: Float[Tensor, "n ... i"],
        g: Float[Tensor, "n ... o"],
        on: Float[Tensor, "n ... P 1"],
        factors: Factors,
    ) -> Factors:
        """U: sum_n on read(x)[p, m] g; V: sum_n on adjoint(g)[p, m] x."""
        return Factors(
            outer(on * onto(x, factors.V), g),
            outer(on * onto(g, factors.U), x),
        )

    def apply(
        self, x: Float[Tensor, "n ... i"], weights: Float[Tensor, "n o i"]
    ) -> Float[Tensor, "n ... o"]:
        """x W_n^T."""
        return each(x, weights)

    def slope(
        self, x: Float[Tensor, "n ... i"], g: Float[Tensor, "k n ... o"]
    ) -> Float[Tensor, "k n o i"]:
        """sum_p g_p x_p^T."""
        return outer_each(g[:, :, None].flatten(2, -2), x[:, None].flatten(1, -2))


@dataclass(frozen=True)
class TransposedUse(LinearUse):
    """y = x W + b: the same with the factors' roles exchanged, as in TMS's W^T W."""

    def width(self, factors: Factors) -> int:
        """I."""
        return factors.V.shape[2]

    def read(self, x: Float[Tensor, "n ... o"], factors: Factors) -> Float[Tensor, "n ... P m"]:
        """x . U[p, m]."""
        return onto(x, factors.U)

    def write(self, r: Float[Tensor, "n ... P m"], factors: Factors) -> Float[Tensor, "n ... i"]:
        """sum_pm r[p, m] V[p, m]."""
        return along(r, factors.V)

    def adjoint(self, g: Float[Tensor, "... i"], factors: Factors) -> Float[Tensor, "... P m"]:
        """g . V[p, m]."""
        return onto(g, factors.V)

    def sides(self, read: Side, adjoint: Side) -> tuple[Side, Side]:
        """U reads, and V is met by gradients."""
        return read, adjoint

    def gradient(
        self,
        x: Float[Tensor, "n ... o"],
        g: Float[Tensor, "n ... i"],
        on: Float[Tensor, "n ... P 1"],
        factors: Factors,
    ) -> Factors:
        """V: sum_n on read(x)[p, m] g; U: sum_n on adjoint(g)[p, m] x."""
        exchanged = super().gradient(x, g, on, Factors(factors.V, factors.U))
        return Factors(exchanged.V, exchanged.U)

    def apply(
        self, x: Float[Tensor, "n ... o"], weights: Float[Tensor, "n o i"]
    ) -> Float[Tensor, "n ... i"]:
        """x W_n."""
        return each(x, weights.mT)

    def slope(
        self, x: Float[Tensor, "n ... o"], g: Float[Tensor, "k n ... i"]
    ) -> Float[Tensor, "k n o i"]:
        """sum_p x_p g_p^T."""
        return super().slope(x, g).mT


def onto(x: Float[Tensor, "... d"], basis: Float[Tensor, "P m d"]) -> Float[Tensor, "... P m"]:
    """Inner products of x with every row of the basis, as one matrix product."""
    return product(x, basis.flatten(0, 1)).unflatten(-1, basis.shape[:2])


def along(r: Float[Tensor, "... P m"], basis: Float[Tensor, "P m d"]) -> Float[Tensor, "... d"]:
    """The combination of the basis's rows with coefficients r, as one matrix product."""
    return product(r.flatten(-2), basis.flatten(0, 1).T)


def outer(r: Float[Tensor, "... P m"], y: Float[Tensor, "... d"]) -> Float[Tensor, "P m d"]:
    """sum r[p, m] y over everything that comes before, as one matrix product."""
    return (r.flatten(-2).flatten(0, -2).T @ y.flatten(0, -2)).unflatten(0, r.shape[-2:])


def each(x: Float[Tensor, "n ... a"], weights: Float[Tensor, "n b a"]) -> Float[Tensor, "n ... b"]:
    """x W_n^T, every input with a matrix of its own."""
    return products(x[:, None].flatten(1, -2), weights).view(*x.shape[:-1], weights.shape[1])


def outer_each(g: Float[Tensor, "k n p b"], x: Float[Tensor, "n p a"]) -> Float[Tensor, "k n b a"]:
    """sum_p g x^T for every input, of k vectors g with the same x."""
    rows = g.permute(1, 0, 3, 2).flatten(1, 2)
    return products(rows, x.mT).unflatten(1, (g.shape[0], g.shape[3])).transpose(0, 1)
