"""From a user's module to a graph: `torch.export`, then JSON-ready calls."""

from __future__ import annotations

import copy
import math
from types import BuiltinFunctionType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind

from apd.errors import TargetError
from apd.from_torch.adapted import Example, adapted, own_name
from apd.from_torch.export import count, export, reason
from apd.from_torch.rewrite import rewrite
from apd.graph import CONSTANTS, Graph, Node, allowed_operator

HALVES = (torch.float16, torch.bfloat16)
ASSERTION = "aten._assert_tensor_metadata.default"

# part of an operator's name -> why a target that calls it cannot be decomposed
REASONS = {
    "dropout": "it is random even in evaluation (nn.Dropout is not)",
    "bernoulli": "it is random",
    "rand": "it is random",
    "multinomial": "it is random",
    "item": "it makes one number of all inputs, and every input must have its own",
    "_assert_scalar": "the shapes depend on the inputs' values",
    "operator.": "the shapes depend on the inputs' values",
    "nonzero": "the shapes depend on the inputs' values",
    "embedding_bag": "give it as an embedding and a mean or a sum",
    "embedding_renorm": "it changes the weights (max_norm of an embedding)",
}


def trace(module: nn.Module, example: Example, output: str = "") -> tuple[Graph, dict[str, Tensor]]:
    """Record what a module computes in evaluation mode, without changing the module.

    Args:
        module: any network `torch.export` can follow.
        example: two or more inputs, by name where there are several; the batch size is free in the
            graph.
        output: which of its outputs is meant (`apd.from_torch.outputs`).

    Returns:
        The graph, and private copies of the tensors it reads, by dotted name.

    Raises:
        TargetError: the module cannot be followed, calls an operator that is not supported, or has
            no such output.
    """
    whole, x, parts = adapted(frozen_copy(module), example, output)
    program = export(whole, x)
    signature = program.graph_signature
    rewrite(program.graph, count(program))
    tensors: dict[str, Any] = {**program.state_dict, **program.constants}
    first_name = {id(tensor): name for name, tensor in reversed(tensors.items())}
    places = {
        placeholder: first_name[id(tensors[name])]
        for placeholder, name in {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }.items()
    }
    graph = Graph(
        input=str(next(iter(signature.user_inputs))),
        input_shape=tuple(x.shape[1:]),
        input_dtype=str(x.dtype),
        parts=parts,
        tensors={placeholder: own_name(name) for placeholder, name in places.items()},
        nodes=[encode_node(node) for node in program.graph.nodes if is_computed(node)],
        output=output_of(program),
    )
    return graph, {own_name(name): tensors[name].detach().clone() for name in places.values()}


def frozen_copy(module: nn.Module) -> nn.Module:
    """The module in evaluation mode, without gradients, half precisions made single.

    Half a number's digits are too few to tell an attribution from rounding; and the weights
    themselves lose nothing.

    Raises:
        TargetError: it cannot be copied.
    """
    try:
        frozen = copy.deepcopy(module).eval().requires_grad_(False)
    except Exception as error:
        raise TargetError(f"the target cannot be copied: {reason(error)}") from error
    for tensor in (*frozen.parameters(), *frozen.buffers()):
        if tensor.dtype in HALVES:
            tensor.data = tensor.data.float()
    return frozen


def output_of(program: ExportedProgram) -> str:
    """The name of the value a program returns, beside buffers that it would write to."""
    kinds = [spec.kind for spec in program.graph_signature.output_specs]
    returned = cast("tuple[torch.fx.Node, ...]", program.graph.output_node().args[0])
    return returned[kinds.index(OutputKind.USER_OUTPUT)].name


def is_computed(node: torch.fx.Node) -> bool:
    """Whether a node computes something, and is no placeholder nor an assertion."""
    return node.op == "call_function" and operator_name(node.target) != ASSERTION


def encode_node(node: torch.fx.Node) -> Node:
    """One call of the exported graph in JSON form.

    Raises:
        TargetError: the operator is not supported.
    """
    op = operator_name(node.target)
    if allowed_operator(op) is None:
        raise TargetError(f"{caller(node)} calls {op}, which is not supported{why(op)}")
    return Node(
        name=node.name,
        op=op,
        args=[encode(arg) for arg in node.args],
        kwargs={name: encode(arg) for name, arg in node.kwargs.items()},
    )


def caller(node: torch.fx.Node) -> str:
    """The innermost module whose forward makes a call, by its dotted name."""
    path = [own_name(name) for name, _ in node.meta.get("nn_module_stack", {}).values()]
    name = path[-1] if path else ""
    return f"the target's {name}" if name else "the target"


def why(op: str) -> str:
    """Why an operator is not supported, where that is not plain."""
    return next((f": {reason}" for part, reason in REASONS.items() if part in op), "")


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
