"""What training asks of an objective: which components an input is run on, and at what price."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from apd.components import Components
from apd.config import Config
from apd.pairs import Pairs
from apd.target import Target
from apd.training.gradient import Pass
from apd.training.sparsity import Phase, Sparsity


@dataclass(frozen=True)
class Selection(ABC):
    """What an objective makes of one batch.

    Attributes:
        outputs: the target's own.
        active: components an input uses on average.
        usage: how often each of them is used.
        amounts: s_c(x), or what the objective has in its place, averaged over the batch.
        pairs: which components every input is run on.
    """

    outputs: Float[Tensor, "n d"]
    active: float
    usage: Float[Tensor, "C"]
    amounts: Float[Tensor, "C"]
    pairs: Pairs

    @abstractmethod
    def passes(self, weights: Float[Tensor, "C"]) -> list[Pass]:
        """Passes whose gradients add up to that of sum_c weights_c amounts_c."""


@dataclass(frozen=True)
class Objective(ABC):
    """A way to have few components account for every input."""

    @classmethod
    @abstractmethod
    def of(
        cls,
        target: Target,
        components: Components,
        reference: Shaped[Tensor, "n *shape"],
        config: Config,
    ) -> Objective:
        """The objective for a training.

        Args:
            target: the network to decompose.
            components: any of the sizes meant.
            reference: the rows to decompose on.
            config: the settings.
        """

    @staticmethod
    @abstractmethod
    def search_steps(config: Config) -> int:
        """How many steps look for k before the decomposition proper."""

    @abstractmethod
    def steer(self, sparsity: Sparsity, phase: Phase, components: int) -> None:
        """Set k for a step, in place."""

    @abstractmethod
    def expected(self, sparsity: Sparsity) -> float:
        """What the amounts add up to where every input exercises as many mechanisms as expected."""

    @abstractmethod
    def select(
        self,
        components: Components,
        x: Shaped[Tensor, "n *shape"],
        active: float,
        generator: torch.Generator,
    ) -> Selection:
        """What it makes of a batch.

        Args:
            components: as they are.
            x: the batch.
            active: k per input, as steered.
            generator: what is random is drawn from.
        """
