"""Rows of a table, looked up by whole numbers; a number the table has no row for has a row of NaN.

So an input that holds an unknown token has outputs of NaN, as one with a NaN in it has, and is
marked as such, while the inputs beside it have theirs. What cannot be NaN raises an `IndexError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def embedding(
    table: Float[Tensor, "rows width"], ids: Int[Tensor, "*ids"], *gradients: Any
) -> Float[Tensor, "*ids width"]:
    """`aten.embedding`, whose further arguments say how gradients come about."""
    known = (ids >= 0) & (ids < len(table))
    return marked(torch.ops.aten.embedding.default(table, ids * known, *gradients), known)


def index(x: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    """`aten.index`, of which `table[ids]` is one form; ids may count from the end.

    Entries that several ids name together, and whole numbers, which cannot be NaN, are looked up as
    ever.
    """
    first, *others = indices
    if first is None or others or not x.is_floating_point():
        return torch.ops.aten.index.Tensor(x, indices)
    known = (first >= -len(x)) & (first < len(x))
    return marked(torch.ops.aten.index.Tensor(x, [first * known]), known)


def one_hot(ids: Int[Tensor, "*ids"], classes: int) -> Int[Tensor, "*ids classes"]:
    """`aten.one_hot`.

    Raises:
        IndexError: there is a number of no class.
    """
    if bool(((ids < 0) | (ids >= classes)).any()):
        raise IndexError(f"there are {classes} classes")
    return torch.ops.aten.one_hot.default(ids, classes)


def marked(
    found: Float[Tensor, "*ids ..."], known: Bool[Tensor, "*ids"]
) -> Float[Tensor, "*ids ..."]:
    """What was found where a row was known, and NaN elsewhere."""
    spread = known.reshape(*known.shape, *[1] * (found.ndim - known.ndim))
    return torch.where(spread, found, torch.nan)
