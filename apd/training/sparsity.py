"""How many components an input may use: k, found and steered by what they leave unexplained.

No k suits two networks, but one error does. Where mechanisms are separating, k is held where the
active components leave `Config.separation` of the outputs unexplained: inputs then go without the
weakest of their mechanisms, about half of them whatever the network, and places are too few for
what is not separate. Once mechanisms are, k rises until no more than `Config.exactness` is missing,
or `MOST` times as many are active as mechanisms are exercised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from apd.config import Config
from apd.training import schedules

WIDEST_SHARE = 0.25
MOST = 8.0
PACE = 16.0
SATURATION = 1.5
MEMORY = 0.97
LARGEST_ERROR = 10.0
TINY = 1e-12


@dataclass(frozen=True)
class Phase:
    """Where training is: in the search for k, or in the decomposition proper after it.

    Attributes:
        searching: whether it is the search.
        step: the step's number in the phase, from 0.
        steps: how many steps the phase has.
    """

    searching: bool
    step: int
    steps: int

    @property
    def progress(self) -> float:
        """The share of the phase that is over."""
        return self.step / self.steps

    def rest(self, config: Config) -> float:
        """How much of what an input does not use it is run on all the same.

        It fades out in the first part of the search and again of what follows. A neuron that is off
        without the rest has no slope, so nothing would make components account for it: with the
        rest, it is on.
        """
        return schedules.fading(self.progress, config.narrowing)

    def most_staying(self, config: Config) -> float:
        """How much of a component may stay at random where it is not used.

        Any share, but for the very end, when those that are used come to be exact by themselves.
        """
        if self.searching:
            return 1.0
        return schedules.release(self.progress, config.exact_by, 1.0)

    def settles(self, config: Config) -> bool:
        """Whether components are settled after this step: the simplicity penalty is gone."""
        last = min(int(config.release_end * self.steps), self.steps - 1)
        return not self.searching and self.step == last


def search_steps(config: Config) -> int:
    """How many steps the search has: none where k is given, and never all."""
    if config.active is not None:
        return 0
    return min(round(config.search * config.steps), config.steps - 1)


def phase_of(step: int, search: int, began: int, steps: int) -> Phase:
    """The phase that a step belongs to.

    Args:
        step: its number, from 0.
        search: how many steps the search has.
        began: the step at which components started, for the first time or anew.
        steps: how many steps there are in all.
    """
    end = search if step < search else steps
    return Phase(step < search, step - began, end - began)


@dataclass
class Sparsity:
    """k, and what it is steered by; changed in place.

    Attributes:
        active: k per input.
        found: what the search found; what is given, where k is.
        held: k of late while mechanisms separated, no more than was found.
        error: the minimality loss of late (exponential mean over steps).
    """

    active: float
    found: float
    held: float
    error: float

    @classmethod
    def of(cls, components: int, config: Config) -> Sparsity:
        """k before the first step: a quarter of the components."""
        widest = WIDEST_SHARE * components
        found = config.active or widest
        return cls(widest, found, found, 1.0)

    def expected(self, config: Config) -> float:
        """How many mechanisms an input exercises on average, as far as is known.

        Were their contributions uniform on [0, 1], the weakest share s of them would be s^3 of the
        squared outputs.
        """
        return config.active or self.held / (1 - config.separation ** (1 / 3))

    def patience(self, config: Config) -> float:
        """The share of the simplicity penalty that components bear by now, at most 1.

        While more is unexplained than is aimed at, they must grow before they can be simple: under
        the full penalty those of a deep network would shrink until nothing passes through it.
        """
        return config.separation / max(config.separation, self.error)

    def see(self, minimality: float) -> None:
        """Take notice of one step's loss."""
        self.error += (1 - MEMORY) * (min(LARGEST_ERROR, minimality) - self.error)

    def steer(self, phase: Phase, components: int, least: float, config: Config) -> None:
        """Set k for a step, to no less than the least there can be."""
        widest, progress = WIDEST_SHARE * components, phase.progress
        if phase.searching:
            k = self.towards(config.separation, phase)
            self.active = self.found = self.held = min(max(least, k), widest)
        elif progress < config.narrowing:
            self.active = schedules.narrowing(progress / config.narrowing, widest, self.found)
        elif progress < config.release_end:
            k = self.towards(config.separation, phase)
            fewest = least if config.active is None else self.found
            self.active = self.held = min(max(fewest, k), self.found)
        else:
            aim = schedules.refining(
                progress,
                config.separation,
                config.exactness,
                config.release_end,
                config.exact_by,
            )
            most = min(MOST * self.expected(config), widest)
            self.active = max(self.held, min(self.towards(aim, phase), most))

    def towards(self, aim: float, phase: Phase) -> float:
        """k one step nearer to where the error is what is aimed at."""
        urgency = math.log(max(self.error / aim, TINY)) / math.log(SATURATION)
        return self.active * math.exp(PACE / phase.steps * max(-1.0, min(1.0, urgency)))
