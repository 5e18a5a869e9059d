"""The same operators on arrays: what a graph computes of shapes, before it computes of inputs.

A result of one number need not be an array; `apd.from_onnx.values.as_array` makes it one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from apd.from_onnx.operators import layout
from apd.from_onnx.values import as_tensor, is_symbolic, numbers

Array = NDArray[Any]


def divide(a: Array, b: Array) -> object:
    """A / b; of integers, without the part after the point, sizes never being negative."""
    if a.dtype.kind == "f":
        return np.divide(a, b)
    down = np.floor_divide(a, b)
    if is_symbolic(a) or is_symbolic(b):
        return down
    return down + ((a % b != 0) & ((a < 0) != (b < 0)))


def cast(x: Array, *, to: int, saturate: int = 1) -> Array:
    """The same numbers in another type; a symbol is an integer in any."""
    return x if is_symbolic(x) else x.astype(onnx.helper.tensor_dtype_to_np_dtype(to))


def gather(data: Array, indices: Array, *, axis: int = 0) -> object:
    """Slices of data along an axis."""
    return np.take(data, indices, axis)


def slice_of(
    x: Array,
    starts: Array,
    ends: Array,
    axes: Array | Sequence[int] | None = None,
    steps: Array | None = None,
) -> Array:
    """x between places along some axes."""
    along = range(len(starts)) if axes is None else axes
    by = np.ones(len(starts), int) if steps is None else steps
    cut = [slice(None)] * x.ndim
    for axis, start, end, step in zip(along, starts, ends, by, strict=True):
        cut[axis] = slice(int(start), int(end), int(step))
    return x[tuple(cut)]


def squeeze(x: Array, axes: Array | Sequence[int] | None = None) -> Array:
    """x without axes of one place."""
    return np.squeeze(x, None if axes is None else tuple(axes))


def unsqueeze(x: Array, axes: Array | Sequence[int]) -> Array:
    """x with further axes of one place."""
    return np.expand_dims(x, tuple(axes))


def concat(*several: Array, axis: int) -> Array:
    """Arrays one after the other along an axis."""
    return np.concatenate(several, axis)


def reshape(x: Array, shape: Array, *, allowzero: int = 0) -> Array:
    """x in another shape."""
    return x.reshape(numbers(shape))


def expand(x: Array, shape: Array) -> Array | Tensor:
    """x repeated until it has a shape; a tensor where the number of inputs is part of that."""
    if is_symbolic(shape):
        return layout.expand(as_tensor(x, torch.device("cpu")), shape)
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape)))


def trilu(x: Array, k: Array | None = None, *, upper: int = 1) -> Array:
    """The part of a matrix above a diagonal, or below it."""
    return (np.triu if upper else np.tril)(x, 0 if k is None else int(k))


def product(
    x: Array,
    axes: Array | Sequence[int] | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> object:
    """The product over axes."""
    return np.prod(x, None if axes is None else tuple(axes), keepdims=bool(keepdims))


KNOWN: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": divide,
    "Mod": lambda a, b, fmod=0: np.mod(a, b),
    "Neg": np.negative,
    "Sqrt": np.sqrt,
    "Equal": np.equal,
    "Greater": np.greater,
    "Less": np.less,
    "Not": np.logical_not,
    "And": np.logical_and,
    "Min": lambda *several: functools.reduce(np.minimum, several),
    "Max": lambda *several: functools.reduce(np.maximum, several),
    "Where": np.where,
    "Cast": cast,
    "Identity": lambda x: x,
    "Gather": gather,
    "Slice": slice_of,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Concat": concat,
    "Reshape": reshape,
    "Expand": expand,
    "Trilu": trilu,
    "ReduceProd": product,
}
