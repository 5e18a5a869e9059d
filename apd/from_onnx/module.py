"""An imported graph as a module, which holds its constants and makes its calls in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Shaped
from numpy.typing import NDArray
from torch import Tensor, nn

from apd.from_onnx.operators import KNOWN, OPERATORS
from apd.from_onnx.signature import fit
from apd.from_onnx.values import as_array
from apd.module_tensors import hold


@dataclass(frozen=True)
class Earlier:
    """An operand: the inputs, or what an earlier call made of them, by its name in the file."""

    name: str


@dataclass(frozen=True)
class Held:
    """An operand: a parameter or buffer of the module, by its dotted name."""

    name: str


Operand = Earlier | Held | NDArray[Any] | float | None


@dataclass(frozen=True)
class Call:
    """`outputs = op(*operands, **attributes)`.

    Attributes:
        op: the operator, one of `OPERATORS`.
        operands: what it is called with; None for an optional input that is left out.
        attributes: what is fixed in the file, by name.
        outputs: the names of its results.
    """

    op: str
    operands: tuple[Operand, ...]
    attributes: Mapping[str, Any]
    outputs: tuple[str, ...]

    def __call__(self, values: Sequence[Any], device: torch.device) -> tuple[Any, ...]:
        """The results; of arrays alone, an array where the operator knows how.

        Args:
            values: what the operands stand for.
            device: where the inputs are.
        """
        if self.op in KNOWN and not any(isinstance(value, Tensor | float) for value in values):
            result = KNOWN[self.op](*values, **self.attributes)
            return (result if isinstance(result, Tensor) else as_array(result),)
        fitting = [fit(self.op, i, value, device) for i, value in enumerate(values)]
        result = OPERATORS[self.op](*fitting, **self.attributes)
        return result if isinstance(result, tuple) else (result,)


class Imported(nn.Module):
    """A network out of a file, in the file's precision and in evaluation mode for good.

    Weights of products and convolutions, their biases and embeddings are parameters, and all other
    constants buffers, under their names in the file made dotted.

    Attributes:
        input_dtype: what the network takes.
    """

    def __init__(
        self,
        calls: Sequence[Call],
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        ends: tuple[str, str],
        input_dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self._calls = tuple(calls)
        self._ends = ends
        self.input_dtype = input_dtype
        for name, tensor in parameters.items():
            hold(self, name, nn.Parameter(tensor))
        for name, tensor in buffers.items():
            hold(self, name, tensor)

    def forward(self, x: Shaped[Tensor, "n *shape"]) -> Shaped[Tensor, "..."]:
        """The outputs."""
        source, output = self._ends
        held = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        values: dict[str, Any] = {source: x}
        for call in self._calls:
            operands = [value_of(operand, values, held) for operand in call.operands]
            values.update(zip(call.outputs, call(operands, x.device), strict=False))
        return values[output]


def value_of(operand: Operand, values: Mapping[str, Any], held: Mapping[str, Tensor]) -> Any:
    """What an operand stands for."""
    match operand:
        case Earlier(name):
            return values[name]
        case Held(name):
            return held[name]
        case _:
            return operand
