"""A saved detector: one safetensors file beside its decomposition, with strings about it inside."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import uuid
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mad.calibration import CALIBRATIONS, name_of
from mad.decomposition import Decomposition
from mad.errors import StoreError
from mad.profile import Profile
from mad.scorer import Scorer
from mad.scores import SCORES

FILE = "detector.safetensors"
FORMAT = "mad detector"
FORMAT_VERSION = "9"
LOADERS = "mad.decompositions"

Arrays = dict[str, NDArray[Any]]
T = TypeVar("T")


def write(directory: Path, detector: Scorer) -> None:
    """Write a detector, and its decomposition into a directory that is empty or not there.

    Raises:
        StoreError: the directory cannot be written, or holds another decomposition; or nothing
            that is installed could read the decomposition again.
    """
    package = type(detector.decomposition).__module__.partition(".")[0]
    if package not in entry_points(group=LOADERS).names:
        raise StoreError(
            f"nothing was saved, as nothing could read a {type(detector.decomposition).__name__} "
            f"again: its package names no loader as an entry point of the group {LOADERS!r}"
        )
    if not (directory.is_dir() and any(directory.iterdir())):
        try:
            detector.decomposition.save(directory)
        except Exception as error:
            raise StoreError(f"the decomposition was not saved: {error}") from error
    elif load_decomposition(directory, package).fingerprint != detector.decomposition.fingerprint:
        raise StoreError(f"{directory} holds another decomposition than the detector's")
    arrays: Arrays = {
        "profiled": detector.profiled,
        "calibrated": detector.calibrated,
        "accepted": np.asarray(detector.accepted),
        "threshold": detector.profile.threshold,
        "trusted": detector.profile.trusted,
    }
    for name, part in {"calibration": detector.calibration, **detector.profile.scores}.items():
        arrays |= {f"{name}/{key}": array for key, array in pack(part).items()}
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "explains": str(detector.explains),
        "calibration": name_of(detector.calibration),
        "decomposition": package,
        "fingerprint": detector.decomposition.fingerprint,
    }
    write_whole(directory / FILE, arrays, metadata | {"digest": digest(arrays, metadata)})


def read(directory: Path) -> dict[str, Any]:
    """The fields of the detector saved in a directory.

    Raises:
        StoreError: it is missing, truncated, of another version, or of another decomposition.
    """
    path = directory / FILE
    try:
        with safe_open(path, "np") as file:
            metadata: Mapping[str, str] = file.metadata() or {}
            arrays: Arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise StoreError(f"{directory} holds no detector") from error
    except (OSError, SafetensorError, ValueError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} cannot be read: {reason(error)}") from error
    if metadata.get("format") != FORMAT:
        raise StoreError(f"{path} is not a saved detector")
    if metadata.get("format_version") != FORMAT_VERSION:
        raise StoreError(
            f"{path} has format version {metadata.get('format_version')}; "
            f"this version of mad reads {FORMAT_VERSION}; remove it and fit the detector again"
        )
    told = {name: text for name, text in metadata.items() if name != "digest"}
    if metadata.get("digest") != digest(arrays, told):
        raise StoreError(f"{path} was altered: its contents have another hash than it says")
    decomposition = load_decomposition(directory, metadata.get("decomposition", ""))
    if decomposition.fingerprint != metadata.get("fingerprint"):
        raise StoreError(f"{path} belongs to another decomposition: the fingerprints differ")
    try:
        explains = metadata["explains"]
        return {
            "decomposition": decomposition,
            "explains": int(explains) if explains.isdecimal() else explains,
            "profiled": arrays["profiled"],
            "calibrated": arrays["calibrated"],
            "profile": Profile(
                arrays["threshold"],
                arrays["trusted"],
                {name: unpack(kind, arrays, f"{name}/") for name, kind in SCORES.items()},
            ),
            "calibration": unpack(CALIBRATIONS[metadata["calibration"]], arrays, "calibration/"),
            "accepted": int(arrays["accepted"]),
        }
    except KeyError as error:
        raise StoreError(f"{path} lacks {error}") from error


def digest(arrays: Arrays, metadata: Mapping[str, str]) -> str:
    """A hash of everything in a file, so that damage is noticed; whoever can write can renew it."""
    found = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype} {array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def load_decomposition(directory: Path, package: str) -> Decomposition:
    """Read a directory's decomposition with the loader its package registers.

    A package that makes decompositions names its loader as an entry point of the group
    `mad.decompositions`; mad imports none by itself.

    Raises:
        StoreError: no such loader is installed, or it refuses the directory.
    """
    loaders = entry_points(group=LOADERS)
    if package not in loaders.names:
        raise StoreError(f"{directory} needs the package {package!r} to be read")
    try:
        return loaders[package].load()(directory)
    except Exception as error:
        raise StoreError(f"the decomposition was not read: {error}") from error


def pack(value: Any) -> Arrays:
    """A dataclass of arrays, and of such dataclasses, as arrays with names like `code/means`."""
    arrays: Arrays = {}
    for field in fields(value):
        part = getattr(value, field.name)
        if is_dataclass(part):
            arrays |= {f"{field.name}/{key}": array for key, array in pack(part).items()}
        else:
            arrays[field.name] = part
    return arrays


def unpack(kind: type[T], arrays: Arrays, prefix: str) -> T:
    """The dataclass that `pack` took apart.

    Raises:
        KeyError: an array is missing.
    """
    parts: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        nested = isinstance(hint, type) and is_dataclass(hint)
        key = prefix + name
        parts[name] = unpack(hint, arrays, f"{key}/") if nested else arrays[key]
    return kind(**parts)


def write_whole(path: Path, arrays: Arrays, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file under another name, then move it into place in one step.

    Raises:
        StoreError: it cannot be written; what was there before is left as it was.
    """
    scratch: Path | None = None
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    try:
        scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        scratch.touch(exist_ok=False)
        mode = stat.S_IMODE(scratch.stat().st_mode)
        save_file(whole, scratch, dict(metadata))
        with scratch.open("rb") as written:
            os.fsync(written.fileno())
        scratch.chmod(mode)
        scratch.replace(path)
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{path} cannot be written: {reason(error)}") from error
    finally:
        if scratch is not None:
            scratch.unlink(missing_ok=True)


def reason(error: Exception) -> str:
    """Why a file operation failed, in a few words."""
    return getattr(error, "strerror", None) or str(error).partition("\n")[0]
