"""What reading and writing an ONNX graph have in common."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import onnx


def needed(nodes: Iterable[onnx.NodeProto], outputs: Collection[str]) -> list[onnx.NodeProto]:
    """The calls that some outputs are made from, in order."""
    wanted, kept = set(outputs), list[onnx.NodeProto]()
    for node in reversed(list(nodes)):
        if wanted & set(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]
