"""Weights under the names and in the layout they had before they were exported.

An exporter that folds the transpose of a weight, or a batch norm into it, leaves a constant with a
made-up name. Its bias, or the module that the call came from, tells what it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from apd.from_onnx.fold import Constants
from apd.from_onnx.names import is_nameless
from apd.from_onnx.node import Node

PRODUCTS = ("MatMul", "Gemm")
WEIGHT = 1


class Known(NamedTuple):
    """A constant that a matrix equals: its name, and whether the constant is its transpose."""

    name: str
    turned: bool


def restore(nodes: Sequence[Node], constants: Constants) -> tuple[list[Node], Constants]:
    """Name the nameless weights of products and convolutions, and turn matrices back.

    A nameless matrix that equals a named weight, or its transpose, is that weight: so weights that
    were tied are tied again.

    Returns:
        The calls, a product with a constant matrix being a `Gemm` of any number of axes; and the
        constants.
    """
    constants = dict(constants)
    known: dict[str, Known] = {}
    for node in nodes:
        for name in node.inputs:
            if name in constants and constants[name].ndim == 2 and not is_nameless(name):
                remember(known, name, constants[name])
    restored: list[Node] = []
    for node in nodes:
        if is_matrix_product(node, constants):
            restored.append(product(node, nodes, constants, known))
        elif node.op == "Conv":
            restored.append(convolution(node, constants))
        else:
            restored.append(node)
    return restored, constants


def is_matrix_product(node: Node, constants: Constants) -> bool:
    """Whether a call multiplies something by a constant matrix on its right."""
    weight = constants.get(node.inputs[WEIGHT]) if node.op in PRODUCTS else None
    return weight is not None and weight.ndim == 2 and node.inputs[0] not in constants


def product(
    node: Node, nodes: Sequence[Node], constants: Constants, known: dict[str, Known]
) -> Node:
    """The product as a `Gemm` with a named weight; a new one is [o, i] and joins the constants."""
    x, weight, *bias = node.inputs
    as_stored = bool(node.attributes.get("transB", 0))
    if is_nameless(weight):
        matrix = constants[weight] if as_stored else constants[weight].T
        if digest(matrix) not in known:
            name = free_name(weight_name(node, nodes, constants), f"{weight}.weight", constants)
            constants[name] = matrix
            remember(known, name, matrix)
        weight, turned = known[digest(matrix)]
        as_stored = not turned
    return replace(
        node,
        op="Gemm",
        inputs=(x, weight, *bias),
        attributes={**node.attributes, "transB": int(as_stored)},
    )


def convolution(node: Node, constants: Constants) -> Node:
    """The convolution with a named weight and bias."""
    inputs = list(node.inputs)
    for k, role in enumerate(("weight", "bias")[: len(inputs) - WEIGHT], WEIGHT):
        if inputs[k] in constants and is_nameless(inputs[k]) and node.scope:
            name = free_name(f"{node.scope}.{role}", inputs[k], constants)
            constants[name] = constants[inputs[k]]
            inputs[k] = name
    return replace(node, inputs=tuple(inputs))


def weight_name(node: Node, nodes: Sequence[Node], constants: Constants) -> str:
    """What a product's weight was called: as its bias is, else after its module; else empty."""
    biases = [
        name
        for other in nodes
        if other.op == "Add" and node.outputs[0] in other.inputs
        for name in other.inputs
        if name in constants and name.endswith("bias") and not is_nameless(name)
    ]
    if biases:
        return biases[0].removesuffix("bias") + "weight"
    return f"{node.scope}.weight" if node.scope else ""


def free_name(name: str, otherwise: str, constants: Mapping[str, object]) -> str:
    """A name, or the other where it is empty or taken."""
    return name if name and name not in constants else otherwise


def remember(known: dict[str, Known], name: str, matrix: NDArray[Any]) -> None:
    """Note what a matrix and its transpose are called, unless another is called so already."""
    known.setdefault(digest(matrix), Known(name, turned=False))
    known.setdefault(digest(matrix.T), Known(name, turned=True))


def digest(matrix: NDArray[Any]) -> str:
    """A hash of type, shape and values."""
    values = np.ascontiguousarray(matrix)
    return f"{values.dtype} {values.shape} {hashlib.sha256(values.tobytes()).hexdigest()}"
