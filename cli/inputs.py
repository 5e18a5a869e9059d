"""Inputs out of `.npz` files, which are never unpickled.

The array is the one named by the key where one is given, else the one named `x`, else the only one.
"""

import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from cli.errors import InputError, reason

Array = NDArray[Any]

DEFAULT_KEY = "x"
KINDS = {"O": "Python objects", "U": "text", "S": "bytes", "c": "complex numbers", "V": "records"}
ZIP_MAGIC = b"PK"


def read(path: Path, key: str | None = None) -> Array:
    """The array of inputs, one row per input.

    Raises:
        InputError: one sentence naming the file and what is wrong with it.
    """
    with _reading(path), path.open("rb") as stream:
        if stream.read(2) != ZIP_MAGIC:
            raise InputError(f"{path} is not an .npz file; write one with numpy.savez")
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as file:
            array = _member(file, _choose(path, file.files, key), path)
    if array.ndim == 0:
        raise InputError(f"{path} holds a single number; rows of inputs are needed")
    if array.size == 0:
        raise InputError(f"{path} holds an empty array, of shape {array.shape}")
    return array


def fit(array: Array, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """The inputs as a target takes them, copied only where the precision differs.

    Args:
        array: rows of inputs, as read.
        path: where they came from, for the message.
        shape: the shape of one input.
        dtype: what the target takes.

    Raises:
        InputError: the rows have another shape, or the numbers are of another kind.
    """
    if array.shape[1:] != shape:
        raise InputError(
            f"{path} has inputs of {words(array.shape[1:])}, but the target takes {words(shape)}"
        )
    return as_kind(array, path, dtype)


def as_kind(array: Array, path: Path, dtype: np.dtype[Any]) -> Array:
    """The array in another precision of the same kind of number.

    Raises:
        InputError: it holds another kind of number.
    """
    numbers = "iu" if dtype.kind in "iu" else dtype.kind
    if array.dtype.kind not in numbers:
        raise InputError(
            f"{path} holds {array.dtype} values, but the target takes {dtype}; "
            f"convert them first, for example with x.astype('{dtype}')"
        )
    with np.errstate(over="ignore"):
        return array.astype(dtype, copy=False)


def words(shape: tuple[int, ...]) -> str:
    """The shape of one input as people say it."""
    match shape:
        case ():
            return "a single number"
        case (features,):
            return f"{features} feature{'s' * (features != 1)}"
        case _:
            return f"shape {' x '.join(map(str, shape))}"


def few(rows: Array) -> str:
    """Row numbers, abbreviated after ten."""
    return ", ".join(map(str, rows[:10])) + (
        f" and {len(rows) - 10} more" if len(rows) > 10 else ""
    )


def _choose(path: Path, keys: list[str], key: str | None) -> str:
    if key is not None and key not in keys:
        raise InputError(f"{path} has no array named {key!r}; it has {', '.join(keys) or 'none'}")
    if key is not None:
        return key
    if DEFAULT_KEY in keys:
        return DEFAULT_KEY
    if not keys:
        raise InputError(f"{path} holds no arrays")
    if len(keys) > 1:
        raise InputError(
            f"{path} has several arrays and none named {DEFAULT_KEY!r}; "
            f"choose one of {', '.join(keys)} with --key"
        )
    return keys[0]


def _member(file: NpzFile, key: str, path: Path) -> Array:
    try:
        array: Any = file[key]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise InputError(
            f"{path} holds Python objects in {key!r}, which are never unpickled; numbers are needed"
        ) from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} holds something other than an array in {key!r}")
    if array.dtype.kind in KINDS:
        raise InputError(f"{path} holds {KINDS[array.dtype.kind]} in {key!r}; numbers are needed")
    return array


@contextmanager
def _reading(path: Path) -> Generator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a directory; an .npz file is needed") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from error
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError, SyntaxError) as error:
        raise InputError(f"{path} is truncated or damaged, so it cannot be read") from error
