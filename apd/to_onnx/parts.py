"""Uses of sites in ONNX: what parts read, write, and their writing's transpose."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from apd.components import Components
from apd.errors import TargetError
from apd.sites import ConvUse, Factors, LinearUse, TransposedUse, Use
from apd.to_onnx.rules.convolution import geometry
from apd.to_onnx.steps import Step
from apd.to_onnx.writer import Writer


@dataclass(frozen=True)
class Parts(ABC):
    """The parts of all components at one use, P m to each of g groups of channels.

    Attributes:
        step: the call.
        factors: the parts at its site.
        owner: the component that each belongs to.
        groups: g.
    """

    step: Step
    factors: Factors
    owner: Int[Tensor, "P"]
    groups: int

    @property
    @abstractmethod
    def positions(self) -> list[int]:
        """The axes of what is read that run over positions."""

    @abstractmethod
    def read(self, w: Writer, x: str) -> str:
        """What every part reads off x."""

    @abstractmethod
    def write(self, w: Writer, r: str) -> str:
        """The call's result when the parts write the amounts r."""

    @abstractmethod
    def adjoint(self, w: Writer, g: str) -> str:
        """The transpose of `write`."""

    def effects(self, w: Writer, x: str, g: str, count: int) -> str:
        """First-order effects [n, C]: read times adjoint, over positions, groups and parts.

        Args:
            w: the writer.
            x: what the weight is applied to.
            g: the gradient at the call's result.
            count: C.
        """
        products = w.call("Mul", self.read(w, x), self.adjoint(w, g))
        if self.positions:
            products = w.call("ReduceSum", products, w.integers(*self.positions), keepdims=0)
        P, m, _ = self.factors.U.shape
        apart = w.call("Reshape", products, w.integers(-1, self.groups, P, m))
        parts = w.call("ReduceSum", apart, w.integers(1, 3), keepdims=0)
        owned = torch.nn.functional.one_hot(self.owner, count)
        return w.call("MatMul", parts, w.number(owned.to(self.factors.U)))

    def masked(self, w: Writer, x: str, mask: str) -> str:
        """The call's result on some components alone, without its bias.

        Args:
            w: the writer.
            x: what the weight is applied to.
            mask: one or zero for every input and component, [n, C].
        """
        component = np.tile(np.repeat(self.owner.numpy(), self.factors.U.shape[1]), self.groups)
        on = w.call("Gather", mask, w.constant(component), axis=1)
        if self.positions:
            on = w.call("Unsqueeze", on, w.integers(*self.positions))
        return self.write(w, w.call("Mul", self.read(w, x), on))


@dataclass(frozen=True)
class MatrixParts(Parts):
    """Of a product x W^T: into [i, P m], out_of [P m, o].

    Attributes:
        into: what turns x into what is read.
        out_of: what turns amounts into what is written.
    """

    into: Float[Tensor, "i k"]
    out_of: Float[Tensor, "k o"]

    @property
    def positions(self) -> list[int]:
        """All axes but the first and the last."""
        return list(range(1, len(self.step.result.shape)))

    def read(self, w: Writer, x: str) -> str:
        """x into, [n, ..., P m]."""
        return w.call("MatMul", x, w.number(self.into))

    def write(self, w: Writer, r: str) -> str:
        """r out_of."""
        return w.call("MatMul", r, w.number(self.out_of))

    def adjoint(self, w: Writer, g: str) -> str:
        """g out_of^T."""
        return w.call("MatMul", g, w.number(self.out_of.T))


@dataclass(frozen=True)
class ConvParts(Parts):
    """Of a convolution: reading is one, with all V as kernels; writing has kernels of one place."""

    @property
    def positions(self) -> list[int]:
        """All axes but the first two."""
        return list(range(2, 1 + len(self.step.result.shape)))

    def read(self, w: Writer, x: str) -> str:
        """A convolution with V as kernels, the same for every group, [n, g P m, ...]."""
        _, weight, *rest = self.step.args
        kernels = self.factors.V.flatten(0, 1).unflatten(1, weight.shape[1:])
        same = kernels.repeat(self.groups, *[1] * (kernels.ndim - 1))
        return w.call("Conv", x, w.number(same), **geometry(weight, *rest[1:]))

    def write(self, w: Writer, r: str) -> str:
        """Every group along its own part of U."""
        return self.at_each_place(w, r, self.factors.U.flatten(0, 1).T)

    def adjoint(self, w: Writer, g: str) -> str:
        """Every group with its own part of U, [n, g P m, ...]."""
        own = self.factors.U.flatten(0, 1).unflatten(1, (self.groups, -1))
        return self.at_each_place(w, g, own.transpose(0, 1).flatten(0, 1))

    def at_each_place(self, w: Writer, x: str, matrix: Float[Tensor, "a b"]) -> str:
        """A grouped convolution with a kernel of one place."""
        kernels = matrix[(..., *[None] * len(self.positions))]
        return w.call("Conv", x, w.number(kernels), group=self.groups)


def linear(use: Use, step: Step, factors: Factors, owner: Tensor) -> Parts:
    """The parts of x W^T."""
    u, v = (f.flatten(0, 1) for f in factors)
    return MatrixParts(step, factors, owner, 1, v.T, u)


def transposed(use: Use, step: Step, factors: Factors, owner: Tensor) -> Parts:
    """The parts of x W."""
    u, v = (f.flatten(0, 1) for f in factors)
    return MatrixParts(step, factors, owner, 1, u.T, v)


def conv(use: Use, step: Step, factors: Factors, owner: Tensor) -> Parts:
    """The parts of a convolution."""
    assert isinstance(use, ConvUse)
    return ConvParts(step, factors, owner, use.groups)


KINDS: Mapping[type[Use], Callable[[Use, Step, Factors, Tensor], Parts]] = {
    LinearUse: linear,
    TransposedUse: transposed,
    ConvUse: conv,
}


def parts_of(use: Use, step: Step, components: Components) -> Parts:
    """The parts at a use.

    Raises:
        TargetError: it is of a kind that cannot be exported.
    """
    kind = KINDS.get(type(use))
    if kind is None:
        raise TargetError(f"the weight {use.site} is used by {step.op}, which cannot be exported")
    factors = Factors(*(f.detach().cpu() for f in components.factors[use.site]))
    return kind(use, step, factors, components.owners[use.site].cpu())


def bias_of(w: Writer, parts: Parts) -> str | None:
    """What the call adds to its result, shaped to be added; None where it adds nothing."""
    args = parts.step.args
    bias = args[2] if len(args) > 2 else None
    if bias is None:
        return None
    assert isinstance(bias, Tensor)
    spread = len(parts.positions) if isinstance(parts, ConvParts) else 0
    return w.number(bias.view(-1, *[1] * spread))
