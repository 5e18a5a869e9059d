"""How many threads a matrix product is worth."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager

import torch

from apd.target import Target

WORTH_SHARING = 10**8


@contextmanager
def threads_for(target: Target, parts: int, rows: int) -> Generator[None]:
    """Compute on one thread while every product is small, then give the caller's threads back.

    Sharing a product of less than `WORTH_SHARING` multiplications costs more in waiting than it
    saves, and far more while other programs use the machine.

    Args:
        target: the network whose products are meant.
        parts: components times their rank.
        rows: inputs at a time.
    """
    threads = torch.get_num_threads()
    largest = max(
        rows * target.positions[use.node] * max(parts * max(site.shape), math.prod(site.shape))
        for site in target.sites.values()
        for use in site.uses
    )
    try:
        torch.set_num_threads(threads if largest >= WORTH_SHARING else 1)
        yield
    finally:
        torch.set_num_threads(threads)
