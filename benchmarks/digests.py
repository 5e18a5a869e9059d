"""Digests of source files, which change with whatever decides a result that is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType


def source_digest(files: Iterable[Path]) -> str:
    """Changes with any byte of them."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def files_of(package: ModuleType) -> list[Path]:
    """A package's own source files, in one order."""
    return sorted(Path(package.__path__[0]).rglob("*.py"))
