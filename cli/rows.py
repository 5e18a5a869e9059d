"""Rows of scores as files: one small writer per format, in a table by suffix."""

import csv
import importlib
import importlib.util
import io
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cli.errors import InputError
from cli.files import write_whole

ROWS_AT_ONCE = 65_536
ALWAYS = frozenset(("index", "flagged", "status"))


@dataclass(frozen=True)
class Rows:
    """A table of scores.

    Attributes:
        columns: equally long arrays by name.
        known: the rows that could be scored; the others are blank but for `ALWAYS`.
    """

    columns: dict[str, NDArray[Any]]
    known: NDArray[np.bool_]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """One tuple of Python values per row, None where blank."""
        for start in range(0, len(self.known), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            known = self.known[part].tolist()
            values = (
                column[part].tolist()
                if name in ALWAYS
                else [v if k else None for v, k in zip(column[part].tolist(), known, strict=True)]
                for name, column in self.columns.items()
            )
            yield from zip(*values, strict=True)


def to_csv(rows: Rows, stream: BinaryIO) -> None:
    """A header and one line per row; floats read back exactly, blanks are empty."""
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows.columns)
    writer.writerows(
        [str(value).lower() if isinstance(value, bool) else value for value in row] for row in rows
    )
    text.flush()
    text.detach()


def to_jsonl(rows: Rows, stream: BinaryIO) -> None:
    """One JSON object per row; blanks are null."""
    for row in rows:
        finite = (None if isinstance(v, float) and not math.isfinite(v) else v for v in row)
        line = json.dumps(dict(zip(rows.columns, finite, strict=True)), allow_nan=False)
        stream.write(f"{line}\n".encode())


def to_npz(rows: Rows, stream: BinaryIO) -> None:
    """One array per column; blanks are NaN, or -1 where the column holds integers."""
    np.savez_compressed(
        stream,
        allow_pickle=False,
        **{
            name: column if name in ALWAYS else np.where(rows.known, column, blank(column))
            for name, column in rows.columns.items()
        },
    )


def blank(column: NDArray[Any]) -> Any:
    """What stands for nothing in an array of that type."""
    return column.dtype.type(np.nan if column.dtype.kind == "f" else -1)


def to_parquet(rows: Rows, stream: BinaryIO) -> None:
    """One column each, blanks null; needs pyarrow."""
    pa, pq = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
    unknown = ~rows.known
    table = pa.table(
        {
            name: pa.array(
                column.tolist() if column.dtype.kind == "U" else column,
                mask=None if name in ALWAYS else unknown,
            )
            for name, column in rows.columns.items()
        }
    )
    pq.write_table(table, stream)


WRITERS: dict[str, Callable[[Rows, BinaryIO], None]] = {
    ".csv": to_csv,
    ".jsonl": to_jsonl,
    ".npz": to_npz,
    ".parquet": to_parquet,
}


def check(path: Path) -> None:
    """Refuses a file that could not be written, before any work is done for it.

    Raises:
        InputError: its directory does not exist, it is a directory, or its format needs a package
            that is not installed.
    """
    if path.is_dir():
        raise InputError(f"{path} is a directory; a file is needed")
    if not path.parent.is_dir():
        raise InputError(f"there is no directory {path.parent} to write {path.name} into")
    if path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise InputError(
            "writing .parquet needs pyarrow; install it with `pip install 'apd[parquet]'`"
        )


def write(rows: Rows, path: Path) -> None:
    """Writes the rows in the format of the file's suffix, whole or not at all.

    Raises:
        OutputError: the file cannot be written; what was there before is left as it was.
    """
    write_whole(path, lambda stream: WRITERS[path.suffix](rows, stream))


def to_stdout(rows: Rows) -> None:
    """Writes the rows to stdout as CSV."""
    to_csv(rows, sys.stdout.buffer)
