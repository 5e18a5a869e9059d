"""What objectives have in common that choose components by their strengths."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from apd.components import Components
from apd.config import Config
from apd.pairs import Pairs
from apd.strength import Strength, strength_of
from apd.target import Target
from apd.training.gradient import Pass
from apd.training.objectives.objective import Objective, Selection
from apd.training.sparsity import Sparsity, search_steps


class Chosen(Selection):
    """Every input is run on the components chosen for it: s_c(x) is 1 for those, else 0."""

    def passes(self, weights: Float[Tensor, "C"]) -> list[Pass]:
        """None: a count of choices has no gradient."""
        return []


@dataclass(frozen=True)
class TopK(Objective):
    """The strongest components, by one count or another.

    Attributes:
        strength: how strengths are worked out.
        config: the settings.
    """

    strength: Strength
    config: Config

    @classmethod
    def of(
        cls,
        target: Target,
        components: Components,
        reference: Shaped[Tensor, "n *shape"],
        config: Config,
    ) -> TopK:
        """The objective for a training."""
        return cls(strength_of(target, components, reference[:1], config.projections), config)

    @staticmethod
    def search_steps(config: Config) -> int:
        """A share of all, unless k is given."""
        return search_steps(config)

    def expected(self, sparsity: Sparsity) -> float:
        """How many mechanisms an input exercises."""
        return sparsity.expected(self.config)

    def chosen(
        self, outputs: Float[Tensor, "n d"], mask: Bool[Tensor, "n C"], active: float
    ) -> Chosen:
        """The selection that a mask stands for."""
        dtype = self.strength.target.dtype
        usage = mask.to(dtype).mean(0)
        return Chosen(outputs, active, usage, usage, Pairs.of(mask, dtype, self.config.rank))
