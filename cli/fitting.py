"""Inputs made to fit a target: their shape, and the kind of number."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cli.errors import InputError
from cli.inputs import Array, Inputs
from mad.checks import as_type


def fitted(inputs: Inputs, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[Array]:
    """The inputs as a target takes them, a chunk at a time.

    Args:
        inputs: rows of inputs in a file.
        shape: the shape of one input.
        dtype: what the target takes.

    Raises:
        InputError: the rows have another shape, or are whole numbers for a target of floats; when
            called, not when iterated.
    """
    if inputs.shape[1:] != shape:
        raise InputError(
            f"{inputs.path} has inputs of {words(inputs.shape[1:])}, "
            f"but the target takes {words(shape)}"
        )
    as_kind(np.empty(0, inputs.header.dtype), inputs.path, dtype)
    return (as_kind(chunk, inputs.path, dtype) for chunk in inputs.chunks())


def as_kind(array: Array, path: Path, dtype: np.dtype[Any]) -> Array:
    """The array as a target takes it.

    Raises:
        InputError: it is of whole numbers, and the target takes floats, of which they might be a
            multiple.
        mad.InputError: its numbers are none of the target's (`mad.checks.as_type`).
    """
    if dtype.kind == "f" and array.dtype.kind != "f":
        raise InputError(
            f"{path} holds {array.dtype} values, but the target takes {dtype}; "
            f"convert them first, for example with x.astype('{dtype}')"
        )
    return as_type(array, dtype, str(path))


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
