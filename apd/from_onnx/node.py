"""One call of an ONNX graph, taken out of its protocol buffer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import numpy_helper

from apd.from_onnx.read import OWN_DOMAINS

SCOPES = "pkg.torch.onnx.name_scopes"
QUOTED = re.compile(r"'([^']*)'")


@dataclass(frozen=True)
class Node:
    """`outputs = op(*inputs, **attributes)`.

    Attributes:
        op: the operator's name, with its domain before it where that is not ONNX's own.
        inputs: the names of the values it takes; empty for an optional one that is left out.
        outputs: the names of the values it makes.
        attributes: what is fixed in the file, by name.
        scope: the dotted path of the module it came from, where the exporter left that; else empty.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    scope: str


def node_of(proto: onnx.NodeProto) -> Node:
    """Take a call out of its protocol buffer."""
    return Node(
        op=operator_of(proto),
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        attributes={a.name: attribute(a) for a in proto.attribute},
        scope=scope_of(proto),
    )


def operator_of(proto: onnx.NodeProto) -> str:
    """`Gemm`, or `com.example.Gemm` of another domain than ONNX's own."""
    own = proto.domain in OWN_DOMAINS
    return proto.op_type if own else f"{proto.domain}.{proto.op_type}"


def attribute(proto: onnx.AttributeProto) -> Any:
    """Text, numbers, lists of them, or an array."""
    value = onnx.helper.get_attribute_value(proto)
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return value.decode() if isinstance(value, bytes) else value


def scope_of(proto: onnx.NodeProto) -> str:
    """The module a call came from: in a property (torch's exporter), or in `/a/b/MatMul` (before).

    The property lists the paths of the modules around the call, and then the call.
    """
    for entry in proto.metadata_props:
        if entry.key == SCOPES:
            scopes = QUOTED.findall(entry.value)
            return scopes[-2] if len(scopes) > 1 else ""
    path = proto.name.split("/")
    return ".".join(path[1:-1]) if path[0] == "" else ""
