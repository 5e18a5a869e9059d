"""Several named inputs as one tensor, a row per input, and back.

A decomposition knows its inputs as the rows of one tensor. What a module takes under several names,
token ids and a mask for example, lies in such a row one after the other; the target's graph begins
by taking it apart. Whole numbers are held by floats exactly, up to 2^24 by those of 32 bits.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Num, Shaped
from torch import Tensor, nn

from apd.errors import TargetError
from apd.graph import CONSTANTS, Part

Arrays = Mapping[str, Any]


def tensor_of(x: Any) -> Tensor:
    """Numbers as a tensor, in whatever order an array holds them.

    Raises:
        TargetError: they are no numbers that torch has, or rows of different lengths.
    """
    if isinstance(x, Tensor):
        return x
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise TargetError("the inputs are not all of one shape") from error
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    try:
        whole = np.asarray(array, array.dtype.newbyteorder("="), order="C")
        return torch.as_tensor(whole if whole.flags.writeable else whole.copy())
    except TypeError as error:
        raise TargetError(f"the inputs are {array.dtype}, which torch has no type for") from error


def names_taken(module: nn.Module, names: Iterable[str]) -> list[str]:
    """Those of some names under which a module's forward takes something."""
    taken = inspect.signature(module.forward).parameters
    return [name for name in names if name in taken]


def parts_of(example: Mapping[str, Shaped[Tensor, "n ..."]]) -> tuple[Part, ...]:
    """What named inputs are made of, in the order of their names as given."""
    return tuple(
        Part(name=name, shape=tuple(tensor.shape[1:]), dtype=str(tensor.dtype))
        for name, tensor in example.items()
    )


def packed_type(parts: Sequence[Part]) -> torch.dtype:
    """A type for all parts: whole numbers where all are, else the widest of the floats."""
    floats = [CONSTANTS[part.dtype] for part in parts if is_float(part)]
    return max(floats, key=lambda dtype: torch.finfo(dtype).bits) if floats else torch.int64


def pack(parts: Sequence[Part], arrays: Arrays) -> Num[Tensor, "n _width"]:
    """Named inputs as rows of one tensor.

    Args:
        parts: what they are made of.
        arrays: name -> [n, *shape]; other names than the parts' are not looked at.

    Raises:
        TargetError: there are no parts; or one is missing, has another shape, kind of number or
            number of rows, or holds a whole number that a float cannot.
    """
    if not parts:
        raise TargetError("the target takes one input, which has no name")
    missing = [part.name for part in parts if part.name not in arrays]
    if missing:
        raise TargetError(
            f"the inputs lack {', '.join(missing)}; the target takes "
            f"{', '.join(part.name for part in parts)}"
        )
    tensors = [fitting(part, tensor_of(arrays[part.name])) for part in parts]
    if len({len(tensor) for tensor in tensors}) > 1:
        counts = ", ".join(f"{len(t)} of {p.name}" for t, p in zip(tensors, parts, strict=True))
        raise TargetError(f"the inputs differ in number: there are {counts}")
    dtype = packed_type(parts)
    packed = [tensor.to(dtype).flatten(1) for tensor in (t[:, None] for t in tensors)]
    for part, tensor, row in zip(parts, tensors, packed, strict=True):
        if not is_float(part) and (row.to(tensor.dtype) != tensor[:, None].flatten(1)).any():
            raise TargetError(f"{part.name} holds whole numbers too large for {dtype}")
    return torch.cat(packed, 1)


def fitting(part: Part, tensor: Tensor) -> Tensor:
    """A part's tensor, if it is one.

    Raises:
        TargetError: its shape or kind of number is not the part's, or it holds a whole number that
            is too large.
    """
    if tuple(tensor.shape[1:]) != part.shape:
        raise TargetError(
            f"{part.name} has shape {tuple(tensor.shape[1:])}; the target takes {part.shape}"
        )
    if tensor.is_floating_point() != is_float(part):
        raise TargetError(f"{part.name} is {tensor.dtype}; the target takes {part.dtype}")
    if not is_float(part) and bool((tensor.to(CONSTANTS[part.dtype]) != tensor).any()):
        raise TargetError(f"{part.name} holds whole numbers too large for {part.dtype}")
    return tensor


def unpack(parts: Sequence[Part], x: Num[Tensor, "n _width"]) -> dict[str, Shaped[Tensor, "n ..."]]:
    """Named inputs out of the rows of one tensor."""
    ends = list(itertools.accumulate(math.prod(part.shape) for part in parts))
    return {
        part.name: x[:, start:end].reshape(-1, *part.shape).to(CONSTANTS[part.dtype])
        for part, start, end in zip(parts, [0, *ends], ends, strict=False)
    }


def is_float(part: Part) -> bool:
    """Whether a part is of floats."""
    return CONSTANTS[part.dtype].is_floating_point
