"""Readable dotted names for what a file's exporter named for itself."""

from __future__ import annotations

import re
from collections.abc import Collection

from torch import nn

NAMELESS = re.compile(r"val_\d+|onnx::\w+|(permute|transpose|t|numpy_t)(_\d+)?|\d+")
# what `apd.from_onnx.module.Imported` has names for
RESERVED = frozenset((*dir(nn.Module()), "_calls", "_ends", "input_dtype"))


def is_nameless(name: str) -> bool:
    """Whether an exporter made a constant's name up, its own being lost."""
    return NAMELESS.fullmatch(name) is not None


def dotted(name: str, taken: Collection[str]) -> str:
    """A name in a file as the dotted name of a tensor of a module.

    Args:
        name: any text.
        taken: the dotted names there are already.
    """
    parts = re.split(r"[./]+", name.removeprefix("onnx::").strip("./"))
    clean = [re.sub(r"\W", "_", part) or "_" for part in parts]
    free = ".".join(part + "_" * (part in RESERVED) for part in clean)
    if clashes(free, taken):
        free = free.replace(".", "_")
    while clashes(free, taken):
        free += "_"
    return free


def clashes(name: str, taken: Collection[str]) -> bool:
    """Whether a tensor's name is another's, or the path of a module that holds another."""
    return any(
        name == other or name.startswith(f"{other}.") or other.startswith(f"{name}.")
        for other in taken
    )
