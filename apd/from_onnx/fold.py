"""What of a graph is constant: worked out once, so that only calls on the inputs are left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from apd.errors import TargetError
from apd.from_onnx.read import OWN_DOMAINS, Source, first
from apd.onnx_calls import needed

Constants = dict[str, NDArray[Any]]


def fold(source: Source) -> tuple[Constants, list[onnx.NodeProto]]:
    """The constants by name, and the calls that the output and the input have in between.

    Raises:
        TargetError: constants do not fit together.
    """
    nodes = needed(source.graph.node, [source.output])
    wanted = {name for node in nodes for name in node.input} | {source.output}
    constants = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in source.graph.initializer
        if tensor.name in wanted
    }
    left: list[onnx.NodeProto] = []
    for node in nodes:
        found = evaluated(node, constants, source.opset)
        constants.update(found)
        if not found:
            left.append(node)
    return constants, left


def evaluated(node: onnx.NodeProto, constants: Mapping[str, NDArray[Any]], opset: int) -> Constants:
    """A call's results by ONNX's reference implementation; none where they are not constant.

    Raises:
        TargetError: the operator cannot be applied to these constants.
    """
    given = {name: constants[name] for name in node.input if name in constants}
    if len(given) < len({name for name in node.input if name}) or not is_certain(node, opset):
        return {}
    try:
        run = ReferenceEvaluator(node, opsets={"": opset})
        results: Any = run.run(None, given)
    except NotImplementedError:
        return {}
    except Exception as error:
        raise TargetError(f"{node.op_type} of constants fails: {first(error)}") from error
    return {name: value for name, value in zip(node.output, results, strict=True) if name}


def is_certain(node: onnx.NodeProto, opset: int) -> bool:
    """Whether a call is of ONNX's own operators, without any branches, and draws nothing."""
    if node.domain not in OWN_DOMAINS or any(a.HasField("g") for a in node.attribute):
        return False
    schema: Any = onnx.defs.get_schema(node.op_type, opset)
    return schema.node_determinism != onnx.defs.OpSchema.NodeDeterminism.NonDeterministic
