"""An ONNX graph in the making: calls and constants are added, and named, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor

from apd.onnx_calls import needed

OPSET = 20
IR_VERSION = 10

Shape = Sequence[int | str]


class Writer:
    """Collects the calls of a graph; values are known by their names.

    Attributes:
        dtype: what floats are computed in, unless a constant says otherwise.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self._nodes: list[onnx.NodeProto] = []
        self._results: dict[tuple[str, int, tuple[str, ...], str], list[str]] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def call(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Call an operator of one result.

        Returns:
            The name of the result.
        """
        return self.calls(op, 1, *inputs, **attributes)[0]

    def calls(self, op: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """Call an operator of several results; the same call again is no other one."""
        call = (op, count, inputs, repr(sorted(attributes.items())))
        if call in self._results:
            return self._results[call]
        names = [f"{op}_{len(self._nodes)}_{k}" for k in range(count)]
        self._nodes.append(helper.make_node(op, inputs, names, **attributes))
        self._results[call] = names
        return names

    def constant(self, value: NDArray[Any]) -> str:
        """A constant, in the type it has; equal ones are kept once."""
        array = np.ascontiguousarray(value).reshape(value.shape)
        key = (array.dtype.str, array.shape, array.tobytes())
        return self._constants.setdefault(key, f"constant_{len(self._constants)}")

    def number(self, value: Tensor | float | Sequence[float]) -> str:
        """A constant in the type that floats are computed in."""
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
        return self.constant(array.astype(self.dtype))

    def integers(self, *values: int) -> str:
        """A vector of whole numbers, as shapes and axes are given."""
        return self.constant(np.array(values, np.int64))

    def cast(self, value: str, dtype: np.dtype[Any] | None = None) -> str:
        """A value in another type, by default the one that floats are computed in."""
        return self.call("Cast", value, to=helper.np_dtype_to_tensor_dtype(dtype or self.dtype))

    def model(
        self,
        inputs: Mapping[str, tuple[np.dtype[Any], Shape]],
        outputs: Mapping[str, tuple[str, np.dtype[Any], Shape]],
        metadata: Mapping[str, str],
    ) -> onnx.ModelProto:
        """The whole graph, without the calls that no output needs.

        Args:
            inputs: the type and shape of every input, by name; a text in a shape is a free size.
            outputs: the value that every output is, and its type and shape, by name.
            metadata: what the file says of itself.
        """
        for name, (value, _, _) in outputs.items():
            self._nodes.append(helper.make_node("Identity", [value], [name]))
        nodes = needed(self._nodes, outputs)
        wanted = {name for node in nodes for name in node.input}
        graph = helper.make_graph(
            nodes,
            "scorer",
            [value_info(name, *kind) for name, kind in inputs.items()],
            [value_info(name, dtype, shape) for name, (_, dtype, shape) in outputs.items()],
            [
                tensor
                for tensor in map(initializer, self._constants.items())
                if tensor.name in wanted
            ],
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        return model


def initializer(
    item: tuple[tuple[str, tuple[int, ...], bytes], str],
) -> onnx.TensorProto:
    """A constant as a file holds it."""
    (dtype, shape, values), name = item
    return numpy_helper.from_array(np.frombuffer(values, dtype).reshape(shape), name)


def value_info(name: str, dtype: np.dtype[Any], shape: Shape) -> onnx.ValueInfoProto:
    """An input or output as a file declares it."""
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    return helper.make_tensor_value_info(name, kind, list(shape))
