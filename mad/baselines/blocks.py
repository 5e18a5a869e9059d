"""Inputs whose distances from all of a reference are in memory at once."""

from __future__ import annotations

from collections.abc import Iterator

DISTANCES_AT_ONCE = 2**24


def rows_at_once(n: int, reference: int) -> Iterator[slice]:
    """The rows of n inputs, so many at a time that there are `DISTANCES_AT_ONCE` distances at most.

    Args:
        n: how many inputs there are.
        reference: how many each is compared with.
    """
    size = max(1, DISTANCES_AT_ONCE // max(1, reference))
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
