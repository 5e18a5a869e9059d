"""From a graph's nodes to calls whose constants are where their operators want them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from apd.from_onnx.fold import Constants
from apd.from_onnx.module import Call, Earlier, Held, Operand
from apd.from_onnx.names import dotted
from apd.from_onnx.node import Node
from apd.from_onnx.operators import KNOWN, PARAMETERS
from apd.from_onnx.signature import is_number, kinds
from apd.from_onnx.values import as_tensor

OF_SHAPES = ("Shape", "Size", "Range")


class Builder:
    """Prepares calls, and collects the tensors that the module has to hold for them.

    Attributes:
        parameters: what can be decomposed, and its biases, by dotted name.
        buffers: all other tensors, by dotted name.
    """

    def __init__(self, constants: Constants) -> None:
        self.parameters: dict[str, Tensor] = {}
        self.buffers: dict[str, Tensor] = {}
        self._constants = constants
        self._arrays = set[str]()
        self._dotted: dict[str, str] = {}

    def calls(self, nodes: Sequence[Node]) -> list[Call]:
        """The calls of a graph."""
        return [self._call(node) for node in nodes]

    def _call(self, node: Node) -> Call:
        of_arrays = node.op in KNOWN and all(
            not name or name in self._constants or name in self._arrays for name in node.inputs
        )
        if of_arrays or node.op in OF_SHAPES:
            self._arrays.update(node.outputs)
        attributes = dict(node.attributes)
        if node.op == "Split":
            attributes["num_outputs"] = len(node.outputs)
        operands = [self._operand(node, i, of_arrays=of_arrays) for i in range(len(node.inputs))]
        return Call(node.op, tuple(operands), attributes, node.outputs)

    def _operand(self, node: Node, position: int, *, of_arrays: bool) -> Operand:
        name = node.inputs[position]
        if not name:
            return None
        if name not in self._constants:
            return Earlier(name)
        value = self._constants[name]
        wanted = kinds(node.op, position)
        if of_arrays or np.ndarray in wanted:
            return value
        if is_number(value, wanted):
            return value.item()
        return self._held(name, parameter=position in PARAMETERS.get(node.op, ()))

    def _held(self, name: str, *, parameter: bool) -> Held:
        """A constant that the module holds, whatever number of calls it takes part in."""
        if name not in self._dotted:
            taken = self._dotted.values()
            self._dotted[name] = dotted(name, taken)
            tensor = as_tensor(self._constants[name], torch.device("cpu"))
            kind = self.parameters if parameter and tensor.is_floating_point() else self.buffers
            kind[self._dotted[name]] = tensor
        return Held(self._dotted[name])
