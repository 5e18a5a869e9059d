"""How many threads a matrix product is worth."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

import torch

from apd.target import Target

WORTH_SHARING = 10**8


@dataclass
class Given:
    """The caller's threads, while some are at work with as many as they need.

    Attributes:
        lock: of what follows.
        borrowers: how many are at work, each in a thread of Python's own.
        threads: the caller's number.
    """

    lock: Lock = field(default_factory=Lock)
    borrowers: int = 0
    threads: int = 1


GIVEN = Given()


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
    largest = max(
        rows * target.positions[use.node] * max(parts * max(site.shape), math.prod(site.shape))
        for site in target.sites.values()
        for use in site.uses
    )
    with GIVEN.lock:
        if GIVEN.borrowers == 0:
            GIVEN.threads = torch.get_num_threads()
        GIVEN.borrowers += 1
    try:
        torch.set_num_threads(GIVEN.threads if largest >= WORTH_SHARING else 1)
        yield
    finally:
        with GIVEN.lock:
            GIVEN.borrowers -= 1
        torch.set_num_threads(GIVEN.threads)
