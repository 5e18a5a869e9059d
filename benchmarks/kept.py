"""Rows kept as they come, so that whatever ends a benchmark leaves those that are done."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from apd.files import write_whole


def keep(path: Path | None, rows: Iterable[Any]) -> None:
    """All rows so far as a JSON list, where it is asked for; the file is always whole.

    Args:
        path: the file, in a directory that is made where it is missing.
        rows: dictionaries or dataclasses.
    """
    if path is None:
        return
    told = [asdict(row) if is_dataclass(row) and not isinstance(row, type) else row for row in rows]
    text = json.dumps(told, indent=1) + "\n"
    write_whole(path, lambda scratch: scratch.write_text(text))
