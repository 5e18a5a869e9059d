"""Matrix products that round every row alike, whatever its place in the batch.

Matrix libraries treat the edges of a product that is no multiple of their tiles with other code,
which rounds otherwise. With both inner and outer size filled up to a multiple of `TILE`, a row's
result depends on that row and on the number of rows alone: checked over hundreds of shapes, in
float32 and float64, forwards and backwards, by the tests. Filling up copies matrices, so training,
which never compares rows, leaves it out.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

TILE = 16

_fills: ContextVar[bool] = ContextVar("fills", default=True)


@contextmanager
def unfilled() -> Generator[None]:
    """Inside, products are the library's own, edges and all."""
    token = _fills.set(False)
    try:
        yield
    finally:
        _fills.reset(token)


def filling() -> bool:
    """Whether rows are to round alike."""
    return _fills.get()


def product(x: Float[Tensor, "*n k"], matrix: Float[Tensor, "d k"]) -> Float[Tensor, "*n d"]:
    """x @ matrix^T."""
    d, k = matrix.shape
    if filling() and (d % TILE or k % TILE):
        matrix = F.pad(matrix, (0, -k % TILE, 0, -d % TILE))
        x = F.pad(x, (0, -k % TILE))
        return (x @ matrix.T)[..., :d]
    return x @ matrix.T


def products(x: Float[Tensor, "b n k"], matrices: Float[Tensor, "b d k"]) -> Float[Tensor, "b n d"]:
    """x @ matrix^T, every block of rows with a matrix of its own; blocks round alike too."""
    (n, k), d = x.shape[1:], matrices.shape[1]
    if filling() and (n % TILE or d % TILE or k % TILE):
        x = F.pad(x, (0, -k % TILE, 0, -n % TILE))
        matrices = F.pad(matrices, (0, -k % TILE, 0, -d % TILE))
        return (x @ matrices.mT)[:, :n, :d]
    return x @ matrices.mT


def linear(
    x: Float[Tensor, "*n k"], matrix: Float[Tensor, "d k"], bias: Float[Tensor, "d"] | None = None
) -> Float[Tensor, "*n d"]:
    """x @ matrix^T + bias."""
    y = product(x, matrix)
    return y if bias is None else y + bias
