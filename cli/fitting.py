"""Inputs made to fit a target: their shape, and the kind of number."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cli.errors import InputError
from cli.inputs import Array, Inputs


def fitted(inputs: Inputs, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[Array]:
    """The inputs as a target takes them, a chunk at a time.

    Args:
        inputs: rows of inputs in a file.
        shape: the shape of one input.
        dtype: what the target takes.

    Raises:
        InputError: the rows have another shape, or the numbers are of another kind; when called,
            not when iterated.
    """
    if inputs.shape[1:] != shape:
        raise InputError(
            f"{inputs.path} has inputs of {words(inputs.shape[1:])}, "
            f"but the target takes {words(shape)}"
        )
    as_kind(np.empty(0, inputs.header.dtype), inputs.path, dtype)
    return (as_kind(chunk, inputs.path, dtype) for chunk in inputs.chunks())


def as_kind(array: Array, path: Path, dtype: np.dtype[Any]) -> Array:
    """The array in another precision of the same kind of number.

    Raises:
        InputError: it holds another kind of number, or whole numbers too large for it.
    """
    numbers = "iu" if dtype.kind in "iu" else dtype.kind
    if array.dtype.kind not in numbers:
        raise InputError(
            f"{path} holds {array.dtype} values, but the target takes {dtype}; "
            f"convert them first, for example with x.astype('{dtype}')"
        )
    with np.errstate(over="ignore"):
        found = array.astype(dtype, copy=False)
    if dtype.kind in "iu" and (found != array).any():
        raise InputError(f"{path} holds whole numbers too large for the target's {dtype}")
    return found


def numpy_type(dtype: Any) -> np.dtype[Any]:
    """The numpy type of a torch type; float32 for half precision, which is computed in it."""
    name = str(dtype).removeprefix("torch.")
    return np.dtype("float32" if name in ("bfloat16", "float16") else name)


def words(shape: tuple[int, ...]) -> str:
    """The shape of one input as people say it."""
    match shape:
        case ():
            return "a single number"
        case (features,):
            return f"{features} feature{'s' * (features != 1)}"
        case _:
            return f"shape {' x '.join(map(str, shape))}"
