"""Matrix products, and rows looked up in a table."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from apd.from_onnx.values import as_tensor


def gemm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    """Alpha x W + beta b; W is stored [o, i] where `transB` says so, and x may have more axes."""
    rows = x.T if transA else x
    matrix = weight if transB else weight.T
    if alpha == beta == 1 and (bias is None or bias.ndim == 1):
        return F.linear(rows, matrix, bias)
    product = alpha * F.linear(rows, matrix)
    return product if bias is None else product + beta * bias


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """A b over the last two axes, anything before them alike."""
    return torch.matmul(a, b)


def einsum(*operands: Tensor, equation: str) -> Tensor:
    """Products summed as Einstein's convention has it."""
    return torch.einsum(equation, *operands)


def gather(data: Tensor, indices: Tensor | NDArray[Any], *, axis: int = 0) -> Tensor:
    """Slices of data along an axis; rows of a matrix by the inputs are an embedding."""
    axis %= data.ndim
    if isinstance(indices, Tensor):
        if axis == 0 and data.ndim == 2:
            return F.embedding(indices, data)
        return slices(data, indices, axis)
    if indices.ndim == 0:
        return data.select(axis, int(indices))
    return slices(data, as_tensor(np.mod(indices, data.shape[axis]), data.device), axis)


def slices(data: Tensor, indices: Tensor, axis: int) -> Tensor:
    """The slices at the indices, laid out in the axis's place as the indices are."""
    found = data.index_select(axis, indices.flatten())
    return found.reshape(*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :])


PRODUCTS = {"Gemm": gemm, "MatMul": matmul, "Einsum": einsum, "Gather": gather}
