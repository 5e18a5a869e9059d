"""Working through inputs in blocks of one fixed size.

Matrix products round differently at different batch sizes. Every block has the same shape, the
last one filled up with copies of its first row, so an input's bits do not depend on how many others
came with it, nor on how they were handed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Shaped


def blocks(
    chunks: Iterable[Shaped[np.ndarray, "_ *shape"]], rows: int
) -> Iterator[tuple[int, Shaped[np.ndarray, "rows *shape"]]]:
    """Blocks of exactly `rows` rows, copied out of chunks of any length one after the other.

    Args:
        chunks: arrays of rows of one shape and type, empty ones too.
        rows: the rows of a block.

    Yields:
        How many leading rows of the block are the chunks' own, and the block, which is the
        caller's to write to.
    """
    block, filled = np.empty(0), 0
    for chunk in chunks:
        done = 0
        while done < len(chunk):
            if filled == 0:
                block = np.empty((rows, *chunk.shape[1:]), chunk.dtype)
            size = min(rows - filled, len(chunk) - done)
            block[filled : filled + size] = chunk[done : done + size]
            filled, done = filled + size, done + size
            if filled == rows:
                yield rows, block
                filled = 0
    if filled:
        block[filled:] = block[0]
        yield filled, block
