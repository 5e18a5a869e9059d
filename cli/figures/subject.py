"""What is drawn: a run, its detector, the toy it came from, inputs and their active sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

import apd
import mad
import toys
from cli.figures.alone import alone

INPUTS = 4096


@dataclass(frozen=True)
class Subject:
    """A run and what is known about it.

    Attributes:
        run: the decomposed target.
        detector: fitted on reference inputs that the components were not trained on.
        toy: the toy that the target is, where it is one that is at hand.
    """

    run: apd.Run
    detector: mad.Detector
    toy: toys.Toy | None

    @cached_property
    def x(self) -> Tensor:
        """A sample of those inputs, as the target takes them: at most `INPUTS`."""
        return self.run.target.prepare(self.detector.profiled[:INPUTS])

    @cached_property
    def active(self) -> Tensor:
        """The components active on each, bool [n, C]."""
        return apd.recovery.active_components(self.run, self.x)

    @cached_property
    def alone(self) -> Tensor:
        """Which mechanism of the toy each input exercises alone, bool [n, k]; k = 0 without one."""
        if self.toy is None:
            return torch.zeros(len(self.x), 0, dtype=torch.bool)
        return alone(toys.active(self.toy, self.x))

    @cached_property
    def sparse_losses(self) -> Tensor:
        """What each input's outputs lose on its active components alone, [n]."""
        target, components = self.run.target, self.run.components
        return torch.cat(
            [
                apd.recovery.sparse_losses(target, components, x, active)
                for x, active in self.blocks()
            ]
        )

    @cached_property
    def matched(self) -> list[int]:
        """The component most like each mechanism of the toy; there has to be one."""
        assert self.toy is not None
        return apd.recovery.best(self.toy.mechanisms, self.run.components).component.tolist()

    @cached_property
    def used(self) -> list[list[int]]:
        """The components active on most inputs of each mechanism alone, of those with any active.

        None for a mechanism that is never alone.
        """
        shares = apd.recovery.shares(self.active, self.alone & self.active.any(1, keepdim=True))
        return [(row > 0.5).nonzero().flatten().tolist() for row in shares]

    def blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and their active sets, as many at a time as memory is meant for."""
        size = self.run.rows_at_once
        return zip(self.x.split(size), self.active.split(size), strict=True)

    def alive(self) -> list[int]:
        """The components that are not dead, the most used first."""
        dead = apd.recovery.dead(self.run.components).tolist()
        rates = self.detector.rates
        return sorted((c for c, gone in enumerate(dead) if not gone), key=lambda c: -rates[c])
