"""`apd.toml`: what a person would otherwise repeat on every command line.

[train]            target, reference, weights, key, out, device
[decomposition]    the fields of apd.Config

Paths are relative to the file.
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.errors import InputError, reason

NAME = "apd.toml"
TRAIN, DECOMPOSITION = SECTIONS = ("train", "decomposition")
TRAIN_KEYS = ("target", "reference", "weights", "key", "out", "device")
PATHS = ("reference", "weights", "out")


@dataclass(frozen=True)
class Settings:
    """What an `apd.toml` says; empty where there is none."""

    train: dict[str, str] = field(default_factory=dict)
    decomposition: dict[str, Any] = field(default_factory=dict)


def find(named: Path | None, target: str | None) -> Path | None:
    """The file named, else the one in the target's directory, else the one here, else none."""
    if named is not None:
        return named
    candidates = [Path(target) / NAME] if target is not None else []
    return next((path for path in [*candidates, Path(NAME)] if path.is_file()), None)


def read(path: Path) -> Settings:
    """What the file says, its paths relative to the working directory.

    Raises:
        InputError: it is missing or is not TOML, or names something unknown.
    """
    content = _parse(path)
    _refuse_unknown(path, content, SECTIONS, "section")
    for section in SECTIONS:
        if not isinstance(content.get(section, {}), dict):
            raise InputError(f"{path}: {section} has to be a section, [{section}]")
    given = content.get(TRAIN, {})
    _refuse_unknown(path, given, TRAIN_KEYS, f"setting in [{TRAIN}]")
    for name, value in given.items():
        if not isinstance(value, str):
            raise InputError(f"{path}: {name} has to be text, not {value!r}")
    return Settings(
        {name: _relative(path, name, value) for name, value in given.items()},
        content.get(DECOMPOSITION, {}),
    )


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from error
    except ValueError as error:
        raise InputError(f"{path} is not TOML: {error}") from error


def _refuse_unknown(path: Path, given: dict[str, Any], known: tuple[str, ...], what: str) -> None:
    for name in given:
        if name not in known:
            raise InputError(f"{path}: unknown {what} {name!r}; there are {', '.join(known)}")


def _relative(path: Path, name: str, value: str) -> str:
    there = path.parent / value
    return str(there) if name in PATHS or (name == "target" and there.exists()) else value
