"""Sites, their uses, and the formulas a use must know: read, write, adjoint, gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor


class Factors(NamedTuple):
    """A site's components: P_c = sum_m U[c, m] V[c, m]^T, so P_c has rank <= m."""

    U: Float[Tensor, "C m o"]
    V: Float[Tensor, "C m i"]

    def of(self, components: slice | Tensor) -> Factors:
        """Those of some of the components."""
        return Factors(self.U[components], self.V[components])


@dataclass(frozen=True)
class Use(ABC):
    """One call of the graph that applies a site's weight to an input, linearly in both.

    The masked call is `write(mask * read(x))`; the first-order effect of component c on a
    scalar f whose gradient at the call's output is g is `sum_m read(x)[c, m] * adjoint(g)[c, m]`
    (APD, arXiv 2501.14926, appendix A, without ever forming a component's weights).

    Attributes:
        node: the name of the call in the graph.
        site: the dotted name of the weight.
    """

    node: str
    site: str

    @abstractmethod
    def read(self, x: Float[Tensor, "n ... a"], factors: Factors) -> Float[Tensor, "n ... C m"]:
        """What every rank-one part of every component reads off the call's input."""

    @abstractmethod
    def write(self, r: Float[Tensor, "n ... C m"], factors: Factors) -> Float[Tensor, "n ... b"]:
        """The call's output when the parts write the amounts r."""

    @abstractmethod
    def adjoint(self, g: Float[Tensor, "... b"], factors: Factors) -> Float[Tensor, "... C m"]:
        """The transpose of `write`: how much each part's writing moves a scalar of gradient g."""

    @abstractmethod
    def gradient(
        self,
        x: Float[Tensor, "n ... a"],
        g: Float[Tensor, "n ... b"],
        on: Float[Tensor, "n ... C 1"],
        factors: Factors,
    ) -> Factors:
        """The gradient of sum(g * write(on * read(x))) with respect to the factors."""

    @abstractmethod
    def operands(self, args: Sequence[Any]) -> tuple[Tensor, Tensor | None]:
        """The call's input and its bias (None where it has none), out of the call's arguments."""


@dataclass(frozen=True)
class Site:
    """One weight tensor of the target: its dotted name, its shape (o, i), and every use of it."""

    name: str
    shape: tuple[int, int]
    uses: tuple[Use, ...]
