"""Rows of scores out of the files `apd score` writes: one small reader per format, by suffix.

Tables come as they are wanted, in the columns and types of `cli.scoring.tabulate`; blanks are NaN,
or -1 in a column of whole numbers.
"""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cli import inputs
from cli.errors import InputError, reason
from cli.packages import refuse_missing

ROWS_AT_ONCE = 4096
NEEDED = ("index", "score_bits", "p_value", "flagged", "prediction", "status")
TRUTHS = {"true": True, "false": False}
BLANK = ("", None)

Columns = dict[str, NDArray[Any]]
DAMAGED = (*inputs.DAMAGED, LookupError, csv.Error)

T = TypeVar("T")


def read(path: Path) -> Iterator[Columns]:
    """The tables of a file, whose suffix is one of `READERS`.

    Raises:
        InputError: it is not there, is damaged, or was not written by `apd score`.
    """
    if path.suffix == ".parquet":
        refuse_missing("reading .parquet", "pyarrow")
    names: list[str] = []
    try:
        for raw in READERS[path.suffix](path):
            needed = (*NEEDED, *(f"{name}_bits" for name in raw if is_component(name)))
            missing = [name for name in (*needed, *names) if name not in raw]
            if missing:
                raise InputError(f"{path} has no column {missing[0]}, so it is no scores file")
            table = checked({name: typed(name, values) for name, values in raw.items()})
            if len(table["index"]):
                names = names or list(table)
                yield {name: table[name] for name in names}
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from error
    except DAMAGED as error:
        raise InputError(f"{path} is damaged or was not written by `apd score`") from error
    if not names:
        raise InputError(f"{path} holds no scores")


def is_one(path: Path) -> bool:
    """Whether a file, whose suffix is one of `READERS`, begins with scores."""
    try:
        next(read(path))
    except InputError:
        return False
    return True


def typed(name: str, values: Iterable[Any]) -> NDArray[Any]:
    """A column as an array of its own type."""
    if name == "status":
        return np.array([str(value) for value in values])
    if name == "flagged":
        return np.array([TRUTHS[str(value).lower()] for value in values])
    if name in ("index", "prediction") or is_component(name):
        return np.array([-1 if value in BLANK else int(value) for value in values], np.int64)
    return np.array([np.nan if value in BLANK else float(value) for value in values], np.float64)


def checked(table: Columns) -> Columns:
    """A table whose columns are equally long, and whose numbers are such as are written.

    Raises:
        ValueError: it is none.
    """
    if len({len(column) for column in table.values()}) > 1:
        raise ValueError("columns differ in length")
    if any(np.isinf(column).any() for column in table.values() if column.dtype.kind == "f"):
        raise ValueError("a number is infinite")
    p = table["p_value"]
    if not (np.isnan(p) | ((p > 0) & (p <= 1))).all():
        raise ValueError("a p-value is none")
    return table


def is_component(name: str) -> bool:
    """Whether a column names components, the most surprising first, the second, and so on."""
    return name.startswith("component_") and name.removeprefix("component_").isdecimal()


def batches(items: Iterable[T]) -> Iterator[list[T]]:
    """Lists of `ROWS_AT_ONCE` consecutive items, the last one of as many as are left."""
    each = iter(items)
    while batch := list(islice(each, ROWS_AT_ONCE)):
        yield batch


def from_csv(path: Path) -> Iterator[dict[str, Iterable[Any]]]:
    """Tables of strings."""
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.reader(stream, strict=True)
        names = next(reader, [])
        for rows in batches(reader):
            yield dict(zip(names, zip(*rows, strict=True), strict=True))


def from_jsonl(path: Path) -> Iterator[dict[str, Iterable[Any]]]:
    """Tables of what JSON holds."""
    with path.open(encoding="utf-8-sig") as stream:
        for lines in batches(stream):
            rows = [json.loads(line) for line in lines]
            yield {name: [row[name] for row in rows] for name in rows[0]}


def from_npz(path: Path) -> Iterator[dict[str, Iterable[Any]]]:
    """Tables of Python values, which are never unpickled."""
    with np.load(path, allow_pickle=False) as file:
        columns = {name: np.atleast_1d(file[name]) for name in file.files}
    rows = max((len(column) for column in columns.values()), default=0)
    for start in range(0, rows, ROWS_AT_ONCE):
        some = slice(start, start + ROWS_AT_ONCE)
        yield {name: column[some].tolist() for name, column in columns.items()}


def from_parquet(path: Path) -> Iterator[dict[str, Iterable[Any]]]:
    """Tables of Python values."""
    pq = importlib.import_module("pyarrow.parquet")
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROWS_AT_ONCE):
            yield batch.to_pydict()


READERS: dict[str, Callable[[Path], Iterator[dict[str, Iterable[Any]]]]] = {
    ".csv": from_csv,
    ".jsonl": from_jsonl,
    ".npz": from_npz,
    ".parquet": from_parquet,
}
