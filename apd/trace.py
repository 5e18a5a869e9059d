"""From a user's module to a graph: `torch.export`, then JSON-ready calls."""

from __future__ import annotations

import copy
import math
import warnings
from types import BuiltinFunctionType
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from apd.errors import TargetError
from apd.graph import CONSTANTS, Graph, Node, operator_named


def trace(
    module: nn.Module, example: Shaped[Tensor, "n *shape"]
) -> tuple[Graph, dict[str, Tensor]]:
    """Record what a module computes in evaluation mode, without changing the module.

    Args:
        module: any network `torch.export` can follow, of one input.
        example: two or more inputs; the batch size is free in the graph.

    Returns:
        The graph, and private copies of the tensors it reads, by dotted name.

    Raises:
        TargetError: the module cannot be followed, or calls an operator that is not supported.
    """
    frozen = copy.deepcopy(module).eval().requires_grad_(False)
    program = export(frozen, in_precision_of(frozen, example))
    signature = program.graph_signature
    inputs, outputs = list(signature.user_inputs), list(signature.user_outputs)
    if len(inputs) != 1 or len(outputs) != 1:
        raise TargetError(
            f"the target takes {len(inputs)} inputs and returns {len(outputs)} tensors; "
            "one of each is supported"
        )
    tensors: dict[str, Any] = {**program.state_dict, **program.constants}
    own_name = {id(tensor): name for name, tensor in reversed(tensors.items())}
    named = {
        placeholder: own_name[id(tensors[name])]
        for placeholder, name in {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }.items()
    }
    graph = Graph(
        input=str(inputs[0]),
        input_shape=tuple(example.shape[1:]),
        input_dtype=str(in_precision_of(frozen, example).dtype),
        tensors=named,
        nodes=[encode_node(node) for node in program.graph.nodes if node.op == "call_function"],
        output=str(outputs[0]),
    )
    return graph, {name: tensors[name].detach().clone() for name in named.values()}


def in_precision_of(module: nn.Module, x: Shaped[Tensor, "n *shape"]) -> Shaped[Tensor, "n *shape"]:
    """Floats in the module's own precision; integers as they are."""
    dtypes = [tensor.dtype for tensor in module.state_dict().values() if tensor.is_floating_point()]
    return x.to(dtypes[0]) if dtypes and x.is_floating_point() else x


def export(module: nn.Module, example: Shaped[Tensor, "n *shape"]) -> torch.export.ExportedProgram:
    """`torch.export` with a free batch size, composites kept, in-place calls made functional."""
    free_batch = ({0: torch.export.Dim.AUTO},)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with torch.no_grad():
                module(example)
            program = torch.export.export(module, (example,), dynamic_shapes=free_batch)
            return program.run_decompositions({})
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise TargetError(
            f"the target cannot be traced on {example.dtype} inputs of shape "
            f"{tuple(example.shape)}: {reason}"
        ) from error


def encode_node(node: torch.fx.Node) -> Node:
    """One call of the exported graph in JSON form.

    Raises:
        TargetError: the operator is not supported.
    """
    op = operator_name(node.target)
    operator_named(op)
    return Node(
        name=node.name,
        op=op,
        args=[encode(arg) for arg in node.args],
        kwargs={name: encode(arg) for name, arg in node.kwargs.items()},
    )


def operator_name(target: Any) -> str:
    """`aten.linear.default`, `operator.mul`, ..."""
    if isinstance(target, BuiltinFunctionType):
        return f"operator.{target.__name__}"
    return str(target)


def encode(arg: Any) -> Any:
    """A call's argument in JSON form; `apd.graph.decode` reads it back."""
    if isinstance(arg, (list, tuple)):
        return [encode(item) for item in arg]
    if isinstance(arg, torch.fx.Node):
        return {"node": arg.name}
    if isinstance(arg, torch.device):
        return {"device": "input"}
    if isinstance(arg, (torch.dtype, torch.memory_format, torch.layout)):
        if str(arg) not in CONSTANTS:
            raise TargetError(f"the target uses {arg}, which is not supported")
        return {"constant": str(arg)}
    if isinstance(arg, float) and not math.isfinite(arg):
        return {"number": str(arg)}
    if arg is None or isinstance(arg, (bool, int, float, str)):
        return arg
    raise TargetError(f"the target passes {arg!r} to an operator, which is not supported")
