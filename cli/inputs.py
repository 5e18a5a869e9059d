"""Inputs out of `.npz` files, which are never unpickled and need not fit into memory.

The array is the one named by the key where one is given, else the one named `x`, else the only one.
"""

import tempfile
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cli.errors import InputError, reason

Array = NDArray[Any]

DEFAULT_KEY = "x"
KINDS = {"O": "Python objects", "U": "text", "S": "bytes", "c": "complex numbers", "V": "records"}
ZIP_MAGIC = b"PK"
BYTES_AT_ONCE = 2**20
# what reading a damaged .npz file raises; numpy parses headers as Python's literals
DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError),
    *(SyntaxError, TokenError, TypeError, OverflowError, MemoryError, RecursionError),
)


class Header(NamedTuple):
    """What an array in a file says of itself: shape, by columns or by rows, and type."""

    shape: tuple[int, ...]
    by_columns: bool
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Inputs:
    """An array in a file, one row per input.

    Attributes:
        path: the file.
        member: the array's name inside it.
        header: its shape, order and type.
    """

    path: Path
    member: str
    header: Header

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape; the first number counts the inputs."""
        return self.header.shape

    @property
    def rows_at_once(self) -> int:
        """How many rows `BYTES_AT_ONCE` holds, or one."""
        return max(1, BYTES_AT_ONCE // (prod(self.shape[1:]) * self.header.dtype.itemsize))

    def chunks(self, at_once: int | None = None) -> Iterator[Array]:
        """The rows in order, so many or `rows_at_once` at a time, whether stored or compressed.

        Raises:
            InputError: the file is truncated or damaged further on.
        """
        at_once = at_once or self.rows_at_once
        unpacked = _by_columns if self.header.by_columns else _by_rows
        with (
            _reading(self.path),
            zipfile.ZipFile(self.path) as file,
            file.open(self.member) as stream,
        ):
            _header(stream)
            yield from unpacked(stream, self.header, at_once)

    def whole(self) -> Array:
        """All rows.

        Raises:
            InputError: the file is truncated or damaged.
        """
        array = np.empty(self.shape, self.header.dtype)
        done = 0
        for chunk in self.chunks():
            array[done : done + len(chunk)] = chunk
            done += len(chunk)
        return array


def arrays(path: Path) -> dict[str, str]:
    """What the arrays in a file are called, and under which names they are stored.

    Raises:
        InputError: there is no such file, or it is no .npz file.
    """
    with _reading(path):
        with path.open("rb") as stream:
            if stream.read(2) != ZIP_MAGIC:
                raise InputError(f"{path} is not an .npz file; write one with numpy.savez")
        with zipfile.ZipFile(path) as file:
            return {name.removesuffix(".npy"): name for name in file.namelist()}


def look(path: Path, key: str | None = None) -> Inputs:
    """The array of inputs, of which nothing but its header is read.

    Raises:
        InputError: one sentence naming the file and what is wrong with it.
    """
    members = arrays(path)
    key = _choose(path, list(members), key)
    with _reading(path), zipfile.ZipFile(path) as file:
        with file.open(members[key]) as stream:
            if stream.read(npy.MAGIC_LEN)[:-2] != npy.MAGIC_PREFIX:
                raise InputError(f"{path} holds something other than an array in {key!r}")
        with file.open(members[key]) as stream:
            header = _header(stream)
        _check(header, path, key)
        if prod(header.shape) * header.dtype.itemsize > file.getinfo(members[key]).file_size:
            raise EOFError
    return Inputs(path, members[key], header)


def read(path: Path, key: str | None = None) -> Array:
    """The array of inputs, one row per input.

    Raises:
        InputError: one sentence naming the file and what is wrong with it.
    """
    return look(path, key).whole()


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


def _header(stream: IO[bytes]) -> Header:
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    header = Header(*read(stream))
    if not all(type(size) is int and size >= 0 for size in header.shape):
        raise ValueError("no sizes")
    return header


def _check(header: Header, path: Path, key: str) -> None:
    if header.dtype.hasobject:
        raise InputError(
            f"{path} holds Python objects in {key!r}, which are never unpickled; numbers are needed"
        )
    if header.dtype.kind in KINDS:
        raise InputError(f"{path} holds {KINDS[header.dtype.kind]} in {key!r}; numbers are needed")
    if not header.shape:
        raise InputError(f"{path} holds a single number; rows of inputs are needed")
    if prod(header.shape) == 0:
        raise InputError(f"{path} holds an empty array, of shape {header.shape}")


def _by_rows(stream: IO[bytes], header: Header, at_once: int) -> Iterator[Array]:
    n, *shape = header.shape
    size = prod(shape) * header.dtype.itemsize
    for start in range(0, n, at_once):
        count = min(at_once, n - start)
        content = stream.read(count * size)
        if len(content) < count * size:
            raise EOFError
        yield np.frombuffer(content, header.dtype).reshape(count, *shape)


def _by_columns(stream: IO[bytes], header: Header, at_once: int) -> Iterator[Array]:
    """Rows lie scattered in the file, so it is unpacked onto the disk and mapped from there."""
    n, left = header.shape[0], prod(header.shape) * header.dtype.itemsize
    with tempfile.TemporaryFile() as scratch:
        while left:
            content = stream.read(min(left, BYTES_AT_ONCE))
            if not content:
                raise EOFError
            left -= scratch.write(content)
        scratch.flush()
        array = np.memmap(scratch, header.dtype, "r", shape=header.shape, order="F")
        for start in range(0, n, at_once):
            yield np.array(array[start : start + at_once])


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
    except DAMAGED as error:
        raise InputError(f"{path} is truncated or damaged, so it cannot be read") from error
    except RuntimeError as error:
        raise InputError(f"{path} is encrypted, or compressed in a way that is not read") from error
