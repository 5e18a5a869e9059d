"""Working through inputs in blocks of one fixed size.

Matrix products round differently at different batch sizes. Every block has the same shape, the
last one filled up with copies of its first row, so an input's bits do not depend on how many others
came with it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Shaped

ROWS = 128


def blocks(
    x: Shaped[np.ndarray, "n *shape"],
) -> Iterator[tuple[slice, Shaped[np.ndarray, "rows *shape"]]]:
    """Blocks of exactly `ROWS` rows, each with the slice of x that its leading rows are."""
    for start in range(0, len(x), ROWS):
        part = np.asarray(x[start : start + ROWS])
        filling = np.broadcast_to(part[:1], (ROWS - len(part), *part.shape[1:]))
        yield slice(start, start + len(part)), np.concatenate([part, filling])
