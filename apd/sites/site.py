"""Sites, their uses, and the formulas a use must know: read, write, adjoint, gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from jaxtyping import Float
from torch import Tensor

Side = TypeVar("Side")


class Factors(NamedTuple):
    """A site's parts: p is sum_m U[p, m] V[p, m]^T, of rank <= m. Sums of parts are components."""

    U: Float[Tensor, "P m o"]
    V: Float[Tensor, "P m i"]

    def of(self, parts: slice | Tensor) -> Factors:
        """Those of some of the parts."""
        return Factors(self.U[parts], self.V[parts])


@dataclass(frozen=True)
class Use(ABC):
    """One call of the graph that applies a site's weight to an input, linearly in both.

    The weight is applied to vectors of a numbers, one or more per input (... stands for positions),
    and makes b numbers out of each. The masked call is `write(mask * read(x))`; the first-order
    effect of part p on a scalar f whose gradient at the call's output is g is
    `sum_m read(x)[p, m] * adjoint(g)[p, m]` (APD, arXiv 2501.14926, appendix A, without forming a
    part's weights), summed over positions. Where positions are many and the weight is small,
    `apply` and `slope` come to the same with a weight [o, i] of every input's own (`apd.routes`).

    Attributes:
        node: the name of the call in the graph.
        site: the dotted name of the weight.
    """

    node: str
    site: str

    @abstractmethod
    def operands(self, args: Sequence[Any]) -> tuple[Tensor, Tensor | None]:
        """The vectors the weight is applied to [n, ..., a], and what is added to the output.

        Args:
            args: the call's arguments.

        Returns:
            The vectors; the bias, shaped to be added to the call's output, None where it has none.
        """

    @abstractmethod
    def width(self, factors: Factors) -> int:
        """How many numbers b the weight makes out of a vector."""

    @abstractmethod
    def read(self, x: Float[Tensor, "n ... a"], factors: Factors) -> Float[Tensor, "n ... P m"]:
        """What every one of the rank-one pieces of every part reads off the vectors."""

    @abstractmethod
    def write(self, r: Float[Tensor, "n ... P m"], factors: Factors) -> Float[Tensor, "n ..."]:
        """The call's output when the parts write the amounts r."""

    @abstractmethod
    def adjoint(self, g: Float[Tensor, "..."], factors: Factors) -> Float[Tensor, "... P m"]:
        """The transpose of `write`: how much each part's writing moves a scalar of gradient g."""

    def sides(self, read: Side, adjoint: Side) -> tuple[Side, Side]:
        """What belongs to U and what to V of the two: V reads, and U is met by gradients.

        It is its own inverse: of what belongs to U and to V, what reads and what writes.
        """
        return adjoint, read

    @abstractmethod
    def gradient(
        self,
        x: Float[Tensor, "n ... a"],
        g: Float[Tensor, "n ..."],
        on: Float[Tensor, "n ... P 1"],
        factors: Factors,
    ) -> Factors:
        """The gradient of sum(g * write(on * read(x))) with respect to the factors."""

    @abstractmethod
    def apply(
        self, x: Float[Tensor, "n ... a"], weights: Float[Tensor, "n o i"]
    ) -> Float[Tensor, "n ..."]:
        """The call's output when every input has a weight of its own."""

    @abstractmethod
    def slope(
        self, x: Float[Tensor, "n ... a"], g: Float[Tensor, "k n ..."]
    ) -> Float[Tensor, "k n o i"]:
        """The gradients of k scalars with respect to these weights, from those at the output."""


@dataclass(frozen=True)
class Site:
    """One weight tensor of the target: its dotted name, its shape (o, i), and every use of it.

    A convolution's weight [o, i, k, ...] counts as the matrix [o, i k ...].
    """

    name: str
    shape: tuple[int, int]
    uses: tuple[Use, ...]

    @property
    def reading(self) -> tuple[bool, bool]:
        """Whether a use reads with U, and whether one does with V."""
        u, v = zip(*(use.sides(True, False) for use in self.uses), strict=True)
        return any(u), any(v)

    @property
    def tied(self) -> bool:
        """Whether uses read with either side, so that what one reads with another writes with."""
        return all(self.reading)
