"""How settings change over training, as functions of progress in [0, 1]."""

from __future__ import annotations

import math


def learning_rate(progress: float, warmup: float) -> float:
    """Linear rise over the first `warmup` of training, then a cosine down to zero; peak 1."""
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def release(progress: float, start: float, end: float) -> float:
    """1 until `start`, a straight line down to 0 at `end`, 0 after it.

    The simplicity penalty shrinks what it selects; released once the active sets have settled, it
    leaves the selection and lets the norms recover.
    """
    if progress <= start:
        return 1.0
    return max(0.0, (end - progress) / (end - start)) if progress < end else 0.0


def narrowing(progress: float, widest: float, tight: float) -> float:
    """From `widest` to `tight` in equal ratios.

    Every component finds inputs of its own before they compete for few places.
    """
    return widest * (tight / widest) ** progress


def fading(progress: float, end: float) -> float:
    """A straight line from 1 to 0 at `end`, 0 after it."""
    return 1 - progress / end if progress < end else 0.0


def refining(
    progress: float, separation: float, exactness: float, start: float, end: float
) -> float:
    """The error aimed at: `separation` until `start`, in equal ratios to `exactness` at `end`."""
    if progress <= start:
        return separation
    if progress >= end:
        return exactness
    return narrowing((progress - start) / (end - start), separation, exactness)
