"""What moves numbers about without computing any."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from apd.errors import TargetError
from apd.from_onnx.values import as_array, is_symbolic, numbers

Array = NDArray[Any]
Axes = Array | Sequence[int] | None


def identity(x: Tensor) -> Tensor:
    """x."""
    return x


def dropout(
    x: Tensor, ratio: Array | None = None, training_mode: Array | None = None, *, seed: int = 0
) -> Tensor:
    """X: nothing is dropped outside training.

    Raises:
        TargetError: it was exported to be trained on.
    """
    if training_mode is not None and bool(training_mode):
        raise TargetError("Dropout is in training mode; export the network after eval()")
    return x


def reshape(x: Tensor, shape: Array, *, allowzero: int = 0) -> Tensor:
    """x in another shape, 0 standing for what it was and -1 for what is left."""
    sizes = numbers(shape)
    if not allowzero:
        sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return x.reshape(sizes)


def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """x as a matrix, the axes before one in its rows."""
    flat = axis == 1 and x.ndim > 1
    return x.flatten(1) if flat else x.reshape(math.prod(x.shape[:axis]), -1)


def transpose(x: Tensor, *, perm: Sequence[int] | None = None) -> Tensor:
    """x with its axes in another order, by default the opposite one."""
    return x.permute(list(perm) if perm is not None else list(range(x.ndim))[::-1])


def squeeze(x: Tensor, axes: Axes = None) -> Tensor:
    """x without some axes of one place, by default without any."""
    if axes is None:
        chosen = [i for i, size in enumerate(x.shape) if i > 0 and size == 1]
    else:
        chosen = np.asarray(axes).tolist()
    return x.squeeze(chosen)


def unsqueeze(x: Tensor, axes: Axes) -> Tensor:
    """x with further axes of one place, counted as in the result."""
    chosen = np.asarray(axes).tolist()
    for axis in sorted(axis % (x.ndim + len(chosen)) for axis in chosen):
        x = x.unsqueeze(axis)
    return x


def concat(*several: Tensor, axis: int) -> Tensor:
    """Tensors one after the other along an axis."""
    return torch.cat(several, axis)


def slice_of(
    x: Tensor, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None
) -> Tensor:
    """x between places along some axes.

    Raises:
        TargetError: it is taken backwards.
    """
    count = len(starts)
    along = range(count) if axes is None else numbers(axes)
    by = [1] * count if steps is None else numbers(steps)
    if any(step < 0 for step in by):
        raise TargetError("Slice with a negative step is not supported")
    cut = [slice(None)] * x.ndim
    for axis, start, end, step in zip(along, numbers(starts), numbers(ends), by, strict=True):
        cut[axis] = slice(start, end, step)
    return x[tuple(cut)]


def split(
    x: Tensor, sizes: Array | None = None, *, axis: int = 0, num_outputs: int
) -> tuple[Tensor, ...]:
    """x in parts along an axis, by default as equal as whole numbers allow."""
    if sizes is None:
        return x.split(math.ceil(x.shape[axis] / num_outputs), axis)
    return x.split(numbers(sizes), axis)


def expand(x: Tensor, shape: Array) -> Tensor:
    """x repeated along axes of one place until it has a shape, or a larger one where x has."""
    sizes = numbers(shape)
    sizes = [1] * (x.ndim - len(sizes)) + sizes
    own = [1] * (len(sizes) - x.ndim) + list(x.shape)
    return x.expand([mine if size == 1 else size for mine, size in zip(own, sizes, strict=True)])


def tile(x: Tensor, repeats: Array) -> Tensor:
    """x so many times along every axis."""
    return x.repeat(numbers(repeats))


def pad(
    x: Tensor,
    pads: Array,
    value: Tensor | float | None = None,
    axes: Array | None = None,
    *,
    mode: str = "constant",
) -> Tensor:
    """x with a number around it.

    Raises:
        TargetError: it is padded with something else.
    """
    if mode != "constant" or isinstance(value, Tensor):
        raise TargetError(f"Pad with anything but a constant ({mode}) is not supported")
    along = list(range(x.ndim)) if axes is None else numbers(axes)
    sides = [(0, 0)] * x.ndim
    for axis, before, after in zip(along, pads[: len(along)], pads[len(along) :], strict=True):
        sides[axis] = (int(before), int(after))
    return F.pad(x, [side for pair in reversed(sides) for side in pair], value=value or 0.0)


def trilu(x: Tensor, k: Array | None = None, *, upper: int = 1) -> Tensor:
    """The part of matrices above a diagonal, or below it."""
    return (torch.triu if upper else torch.tril)(x, 0 if k is None else int(k))


def shape_of(x: Tensor | Array, *, start: int = 0, end: int | None = None) -> Array:
    """The sizes of a value's axes, from one axis to another."""
    return as_array(np.array([*x.shape[start:end], None], dtype=object)[:-1])


def size_of(x: Tensor | Array) -> Array:
    """How many numbers a value has."""
    return as_array(math.prod(x.shape))


def constant_of_shape(shape: Array, *, value: Array | None = None) -> Tensor | Array:
    """One number everywhere; a tensor where the number of inputs is part of its shape."""
    filling = np.zeros(1, np.float32) if value is None else value
    if is_symbolic(shape):
        return torch.full(numbers(shape), filling.item(), dtype=torch.tensor(filling).dtype)
    return np.full(numbers(shape), filling.item(), filling.dtype)


def range_of(start: Array, limit: Array, step: Array) -> Array:
    """Numbers from one to another."""
    return np.arange(start.item(), limit.item(), step.item(), dtype=start.dtype)


LAYOUT = {
    "Identity": identity,
    "Dropout": dropout,
    "Reshape": reshape,
    "Flatten": flatten,
    "Transpose": transpose,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Concat": concat,
    "Slice": slice_of,
    "Split": split,
    "Expand": expand,
    "Tile": tile,
    "Pad": pad,
    "Trilu": trilu,
    "Shape": shape_of,
    "Size": size_of,
    "ConstantOfShape": constant_of_shape,
    "Range": range_of,
}
