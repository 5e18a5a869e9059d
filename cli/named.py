"""Inputs as a target takes them: one array, or several under the network's own names.

Several arrays lie in a row of one after the other (`apd.inputs`), so that everything else knows
one array alone. They are told from labels, which may lie in the same file, by their names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cli.errors import InputError
from cli.fitting import as_kind, fitted, numpy_type, words
from cli.inputs import Array, Inputs, arrays, look

if TYPE_CHECKING:
    from torch import nn

    import apd
    from apd.graph import Part

LABELS = ("y", "is_anomaly", "kind")


@dataclass(frozen=True)
class Taken:
    """Inputs in a file, as a target takes them.

    Attributes:
        count: how many there are.
        chunks: their rows in order.
    """

    count: int
    chunks: Iterator[Array]


def several(module: nn.Module, path: Path) -> list[str]:
    """The arrays in a file that a network takes under their names, where that is more than one.

    Raises:
        InputError: there is no such file, or it is no .npz file.
    """
    from apd.inputs import names_taken

    found = [name for name in names_taken(module, arrays(path)) if name not in LABELS]
    return found if len(found) > 1 else []


def taken(path: Path, key: str | None, target: apd.Target) -> Taken:
    """The inputs of a target, a chunk at a time.

    Args:
        path: an .npz file.
        key: which of its arrays, where the target takes one.
        target: what they are for.

    Raises:
        InputError: they cannot be used; when called, not when iterated, unless the file is damaged
            further on.
    """
    parts = target.graph.parts
    if not parts:
        inputs = look(path, key)
        dtype = numpy_type(target.input_dtype)
        return Taken(inputs.shape[0], fitted(inputs, target.input_shape, dtype))
    if key is not None:
        names = ", ".join(part.name for part in parts)
        raise InputError(f"the target takes the arrays {names} of {path}; leave out --key")
    found = [part_of(path, part) for part in parts]
    counts = {part.name: inputs.shape[0] for part, inputs in zip(parts, found, strict=True)}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise InputError(f"{path} has inputs that differ in number: {said}")
    return Taken(found[0].shape[0], packed(parts, found))


def part_of(path: Path, part: Part) -> Inputs:
    """The array in a file that is one of several inputs.

    Raises:
        InputError: it is not there, or has another shape or kind of number.
    """
    inputs = look(path, part.name)
    if inputs.shape[1:] != part.shape:
        raise InputError(
            f"{path} has {part.name} of {words(inputs.shape[1:])}, "
            f"but the target takes {words(part.shape)}"
        )
    as_kind(np.empty(0, inputs.header.dtype), path, numpy_type(part.dtype))
    return inputs


def packed(parts: tuple[Part, ...], found: list[Inputs]) -> Iterator[Array]:
    """The rows of several arrays together, as many of each at a time."""
    from apd.inputs import pack

    at_once = min(inputs.rows_at_once for inputs in found)
    for chunks in zip(*(inputs.chunks(at_once) for inputs in found), strict=True):
        own = {
            part.name: np.array(as_kind(chunk, inputs.path, numpy_type(part.dtype)))
            for part, inputs, chunk in zip(parts, found, chunks, strict=True)
        }
        yield pack(parts, own).numpy()
