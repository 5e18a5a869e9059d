"""How many inputs to work on at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from apd.graph import Handler
from apd.target import Target

NUMBERS_AT_ONCE = 2**21
MOST_NUMBERS = 2**27
MOST_IN_TRAINING = 2**28
ROWS_AT_ONCE = (128, 1024)


def rows_at_once(target: Target, parts: int) -> int:
    """A power of two: enough inputs to be fast, and no more than fit.

    With about `NUMBERS_AT_ONCE` numbers between the layers and in the components' parts more rows
    would hardly be faster, and with far fewer time is spent on the interpreter. Above all there are
    at most `MOST_NUMBERS` in all that is computed, which is what bounds targets of many positions.

    Args:
        target: the network.
        parts: components times their rank, which are read and written for every vector.
    """
    at_uses = numbers_at_uses(target, parts)
    fewest, most = ROWS_AT_ONCE
    fast = min(most, max(fewest, power_of_two(NUMBERS_AT_ONCE / at_uses)))
    return max(1, min(fast, power_of_two(MOST_NUMBERS / (at_uses + numbers_of(target)))))


def rows_that_fit(numbers: int) -> int:
    """A power of two: how many inputs of so many numbers each training works on at a time."""
    return power_of_two(MOST_IN_TRAINING / numbers)


def numbers_at_uses(target: Target, parts: int) -> int:
    """How many numbers meet the sites' weights and the components' parts for one input."""
    return sum(positions * (numbers + 2 * parts) for positions, numbers in target.vectors.values())


def power_of_two(x: float) -> int:
    """The largest that is no larger, or 1."""
    return 2 ** int(math.log2(max(1, x)))


def numbers_of(target: Target) -> int:
    """How many numbers the target computes for one input."""
    sizes: list[int] = []

    def count(operator: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        result = operator(*args, **kwargs)
        sizes.append(result.numel() if isinstance(result, Tensor) else 0)
        return result

    handlers: dict[str, Handler] = {node.name: count for node in target.graph.nodes}
    with torch.no_grad():
        target.run(target.zeros(), handlers)
    return sum(sizes)
