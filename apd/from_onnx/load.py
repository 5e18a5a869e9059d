"""From an ONNX file to a network: read, fold, restore weights, and prepare every call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from apd.errors import TargetError
from apd.from_onnx.build import Builder
from apd.from_onnx.fold import fold
from apd.from_onnx.module import Imported
from apd.from_onnx.node import Node, node_of
from apd.from_onnx.operators import OPERATORS
from apd.from_onnx.read import Source, first, read
from apd.from_onnx.signature import check
from apd.from_onnx.values import torch_type
from apd.from_onnx.weights import restore

CONTROL_FLOW = ("If", "Loop", "Scan")


def load_onnx(path: Path) -> Imported:
    """Read a network.

    Args:
        path: an .onnx file, whose weights may be in other files beside it.

    Raises:
        TargetError: the file cannot be read, is no network of one input and one output with a free
            batch axis, or calls what is not in `OPERATORS`.
    """
    source = read(path)
    try:
        return network(source)
    except TargetError as error:
        raise TargetError(f"{path}: {error}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise TargetError(f"{path} is damaged: {first(error)}") from error


def network(source: Source) -> Imported:
    """The network in a file.

    Raises:
        TargetError: it calls what is not supported, or does not depend on its input.
    """
    constants, left = fold(source)
    nodes, constants = restore(list(map(node_of, left)), constants)
    check_calls(nodes, source.output)
    builder = Builder(constants)
    return Imported(
        builder.calls(nodes),
        builder.parameters,
        builder.buffers,
        (source.input.name, source.output),
        torch_type(source.input.type.tensor_type.elem_type),
    ).eval()


def check_calls(nodes: Sequence[Node], output: str) -> None:
    """Refuse a graph that calls what is not supported, or that makes its output of nothing.

    Raises:
        TargetError: with everything that it calls and that is not supported.
    """
    called = dict.fromkeys(node.op for node in nodes)
    control = [op for op in called if op in CONTROL_FLOW]
    if control:
        raise TargetError(
            f"the network branches or loops ({', '.join(control)}); only those that compute the "
            "same way for every input are supported"
        )
    unknown = [op for op in called if op not in OPERATORS]
    if unknown:
        raise TargetError(
            f"the network uses {', '.join(unknown)}, which this importer does not know; it knows "
            f"{', '.join(sorted(OPERATORS))}"
        )
    used = {name for node in nodes for name in node.inputs} | {output}
    for node in nodes:
        check(node, used)
    if output not in {name for node in nodes for name in node.outputs}:
        raise TargetError("the network has the same outputs for every input")
