"""Rows of scores as files: one small writer per format, in a table by suffix.

Rows come as a table at a time, and are written before the next is asked for.
"""

import csv
import importlib
import io
import json
import math
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cli.files import write_whole

GROUP = 65_536
BYTES_AT_ONCE = 2**20
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
        known = self.known.tolist()
        values = (
            column.tolist()
            if name in ALWAYS
            else [v if k else None for v, k in zip(column.tolist(), known, strict=True)]
            for name, column in self.columns.items()
        )
        return zip(*values, strict=True)


def to_csv(tables: Iterable[Rows], stream: BinaryIO) -> None:
    """A header and one line per row; floats read back exactly, blanks are empty."""
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    for k, rows in enumerate(tables):
        if k == 0:
            writer.writerow(rows.columns)
        writer.writerows(
            [str(value).lower() if isinstance(value, bool) else value for value in row]
            for row in rows
        )
    text.flush()
    text.detach()


def to_jsonl(tables: Iterable[Rows], stream: BinaryIO) -> None:
    """One JSON object per row; blanks are null."""
    for rows in tables:
        for row in rows:
            finite = (None if isinstance(v, float) and not math.isfinite(v) else v for v in row)
            line = json.dumps(dict(zip(rows.columns, finite, strict=True)), allow_nan=False)
            stream.write(f"{line}\n".encode())


def to_npz(tables: Iterable[Rows], stream: BinaryIO) -> None:
    """One array per column; blanks are NaN, or -1 where the column holds integers.

    The columns grow side by side in temporary files, and are then packed one after the other.
    """
    with ExitStack() as stack:
        files: dict[str, BinaryIO] = {}
        dtypes: dict[str, np.dtype[Any]] = {}
        n = 0
        for rows in tables:
            n += len(rows.known)
            for name, column in rows.columns.items():
                if name not in files:
                    files[name] = stack.enter_context(tempfile.TemporaryFile())
                    dtypes[name] = column.dtype
                whole = column if name in ALWAYS else np.where(rows.known, column, blank(column))
                files[name].write(whole.astype(dtypes[name], copy=False).tobytes())
        packed = stack.enter_context(zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED))
        for name, file in files.items():
            with packed.open(f"{name}.npy", "w", force_zip64=True) as member:
                descr = npy.dtype_to_descr(dtypes[name])
                header = {"descr": descr, "fortran_order": False, "shape": (n,)}
                npy.write_array_header_1_0(member, header)
                file.seek(0)
                shutil.copyfileobj(file, member, BYTES_AT_ONCE)


def blank(column: NDArray[Any]) -> Any:
    """What stands for nothing in an array of that type."""
    return column.dtype.type(np.nan if column.dtype.kind == "f" else -1)


def to_parquet(tables: Iterable[Rows], stream: BinaryIO) -> None:
    """One column each, blanks null, `GROUP` rows at a time; needs pyarrow."""
    pa, pq = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.parquet"))

    def arrow(rows: Rows) -> Any:
        unknown = ~rows.known
        return pa.table(
            {
                name: pa.array(
                    column.tolist() if column.dtype.kind == "U" else column,
                    mask=None if name in ALWAYS else unknown,
                )
                for name, column in rows.columns.items()
            }
        )

    with ExitStack() as stack:
        writer: Any = None
        for group in grouped(map(arrow, tables), GROUP):
            table = pa.concat_tables(group)
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(stream, table.schema))
            writer.write_table(table, row_group_size=len(table))


def grouped(tables: Iterable[Any], rows: int) -> Iterator[list[Any]]:
    """Consecutive tables, as many together as reach so many rows."""
    group: list[Any] = []
    for table in tables:
        group.append(table)
        if sum(map(len, group)) >= rows:
            yield group
            group = []
    if group:
        yield group


WRITERS: dict[str, Callable[[Iterable[Rows], BinaryIO], None]] = {
    ".csv": to_csv,
    ".jsonl": to_jsonl,
    ".npz": to_npz,
    ".parquet": to_parquet,
}


def write(tables: Iterable[Rows], path: Path) -> None:
    """Writes the rows in the format of the file's suffix, whole or not at all.

    Raises:
        OutputError: the file cannot be written; what was there before is left as it was.
    """
    write_whole(path, lambda stream: WRITERS[path.suffix](tables, stream))


def to_stdout(tables: Iterable[Rows]) -> None:
    """Writes the rows to stdout as CSV, as they come."""
    to_csv(tables, sys.stdout.buffer)
