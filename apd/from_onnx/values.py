"""What flows through an imported graph, and how it turns from one kind into another.

A value that depends on the inputs is a tensor. One that does not, or only on their shape, is an
array: of integers, or of objects where the number of inputs, which is free, comes into it. So
shapes are worked out in Python, and leave nothing but their results among a network's calls.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from apd.errors import TargetError

TYPES = {
    np.dtype(np.bool_): torch.bool,
    np.dtype(np.uint8): torch.uint8,
    np.dtype(np.int8): torch.int8,
    np.dtype(np.int16): torch.int16,
    np.dtype(np.int32): torch.int32,
    np.dtype(np.int64): torch.int64,
    np.dtype(np.float16): torch.float16,
    np.dtype(np.float32): torch.float32,
    np.dtype(np.float64): torch.float64,
}


def torch_type(number: int) -> torch.dtype:
    """The type that ONNX gives a number.

    Raises:
        TargetError: it is none of those supported.
    """
    dtype = onnx.helper.tensor_dtype_to_np_dtype(number)
    if dtype not in TYPES:
        name = onnx.TensorProto.DataType.Name(number)
        raise TargetError(f"the ONNX type {name} is not supported")
    return TYPES[dtype]


def as_array(value: object) -> NDArray[Any]:
    """A numpy result as an array: integers where it holds nothing symbolic, else objects."""
    array = value if isinstance(value, np.ndarray) else None
    if array is None:
        array = (
            np.asarray(value) if isinstance(value, np.generic) else np.array(value, dtype=object)
        )
    plain = array.dtype == object and all(isinstance(item, int) for item in array.flat)
    return array.astype(np.int64) if plain else array


def as_tensor(array: NDArray[Any], device: torch.device) -> Tensor:
    """An array that a call wants as a tensor.

    Raises:
        TargetError: the number of inputs is part of it, or it is of no supported type.
    """
    if array.dtype not in TYPES:
        raise TargetError(
            "the ONNX file computes with the number of inputs, which is not supported"
            if array.dtype == object
            else f"the ONNX file holds {array.dtype} values, which are not supported"
        )
    return torch.tensor(array, device=device)


def numbers(array: NDArray[Any]) -> list[Any]:
    """A vector's entries as Python's integers, or symbols where they depend on the batch."""
    return array.tolist()


def is_symbolic(array: NDArray[Any]) -> bool:
    """Whether the number of inputs is part of an array."""
    return array.dtype == object
