"""Files that are either whole or absent, and never run as code: safetensors and JSON."""

from __future__ import annotations

import json
import os
import stat
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from apd.errors import RunError


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` fill a temporary neighbour, then move it into place in one step.

    Raises:
        RunError: the file cannot be written; what was there before is left as it was.
    """
    scratch: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        scratch.touch(exist_ok=False)
        mode = stat.S_IMODE(scratch.stat().st_mode)
        write(scratch)
        with scratch.open("rb") as written:
            os.fsync(written.fileno())
        scratch.chmod(mode)
        scratch.replace(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} cannot be written: {reason(error)}") from error
    finally:
        if scratch is not None:
            scratch.unlink(missing_ok=True)


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors, and strings about them, as safetensors."""
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_whole(path, lambda scratch: save_file(whole, scratch, dict(metadata or {})))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object; floats read back exactly."""
    text = json.dumps(content, indent=1) + "\n"
    write_whole(path, lambda scratch: scratch.write_text(text))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    The tensors are copied out of the file's memory, where they are not aligned as torch aligns its
    own: products of unaligned tensors round otherwise.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        return {name: tensor.clone() for name, tensor in load_file(path).items()}
    except (OSError, SafetensorError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {reason(error)}") from error


def read_metadata(path: Path) -> dict[str, str]:
    """Read the strings a safetensors file holds about its tensors.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {reason(error)}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        RunError: it is missing or is not a JSON object.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {reason(error)}") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} cannot be read: it is not a JSON object")
    return content


def reason(error: Exception) -> str:
    """Why a file operation failed, in a few words."""
    return getattr(error, "strerror", None) or str(error).partition("\n")[0]
