"""The L_p formulation: all components run, and the p-th powers of their attributions are paid for.

Source: Braun et al. 2025, arXiv 2501.14926, appendix A, the formulation that has |A_c(x)|^p in the
place of s_c(x), in the minimality loss and in the simplicity loss. Here the outputs of all
components together are to be the target's besides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from apd.components import Components, whole_network
from apd.config import Config
from apd.effects import effects_of
from apd.errors import ReferenceError
from apd.hooks import Capture, capture
from apd.output_gradients import every_output, gradients_at_once, random_signs
from apd.pairs import Pairs
from apd.strength import strength_of
from apd.target import Target
from apd.training import losses
from apd.training.gradient import Pass
from apd.training.masks import prominent
from apd.training.objectives.objective import Objective, Selection
from apd.training.scales import sample
from apd.training.sparsity import Phase, Sparsity

IN_USE = 0.1  # of an input's greatest attribution


@dataclass(frozen=True)
class Attributed(Selection):
    """Every input is run on all components; |A_c(x)|^p is in the place of s_c(x).

    Attributes:
        captures: every use in the target's own pass.
        gradients: those of k scalars at the output of each of them, [k, n, ...].
        effects: of every component on the scalars.
        p: of the power.
    """

    captures: Sequence[Capture]
    gradients: Sequence[Tensor]
    effects: Float[Tensor, "k n C"]
    p: float

    def passes(self, weights: Float[Tensor, "C"]) -> list[Pass]:
        """One per scalar, of components times the slope of the powers at their effects on it.

        An effect is the inner product of a gradient with what a component alone writes, so the
        gradient at the components is that of a pass on them.
        """
        slopes = losses.attribution_powers_gradient(self.effects, weights, self.p)
        return [
            Pass(self.captures, [g[k] for g in self.gradients], replace(self.pairs, mask=slope))
            for k, slope in enumerate(slopes)
        ]


@dataclass(frozen=True)
class Lp(Objective):
    """No component is chosen; attributions are penalised.

    Exact attributions take a pass per output, all held for a step; `projections` bounds how many.

    Attributes:
        target: the network.
        scale: the attribution of a single component that is the whole network, in units of the
            outputs (root mean square over the reference).
        p: of the penalty.
        projections: how many random projections to estimate attributions from; None: be exact.
    """

    target: Target
    scale: Float[Tensor, ""]
    p: float
    projections: int | None

    @classmethod
    def of(
        cls,
        target: Target,
        components: Components,
        reference: Shaped[Tensor, "n *shape"],
        config: Config,
    ) -> Lp:
        """The objective for a training.

        Raises:
            ReferenceError: the weights have no effect at first order.
        """
        single, generator = whole_network(target), torch.Generator().manual_seed(config.seed)
        strength = strength_of(target, single, reference[:1], config.projections)
        with torch.no_grad():
            _, strengths = strength(single, sample(target, reference), generator)
        scale = strengths.square().mean().sqrt()
        if not bool(scale > 0):
            raise ReferenceError(
                "the decomposed weights have no effect at first order on the reference; "
                "choose an objective other than lp"
            )
        return cls(target, scale, config.attribution_p, config.projections)

    @staticmethod
    def search_steps(config: Config) -> int:
        """There is no k to look for."""
        return 0

    def steer(self, sparsity: Sparsity, phase: Phase, components: int) -> None:
        """There is no k to set."""

    def expected(self, sparsity: Sparsity) -> float:
        """That of a single component that is the whole network."""
        return 1.0

    def select(
        self,
        components: Components,
        x: Shaped[Tensor, "n *shape"],
        active: float,
        generator: torch.Generator,
    ) -> Attributed:
        """All components; those count as active that have a share of the greatest attribution."""
        outputs, captures = capture(self.target, x)
        directions = self.directions(outputs.detach(), generator)
        gradients = gradients_at_once([seen.y for seen in captures], outputs, directions)
        effects = effects_of(components, captures, gradients)
        usage = prominent(effects.norm(dim=0), IN_USE).to(self.target.dtype).mean(0)
        every = torch.ones(effects.shape[1:], dtype=torch.bool, device=effects.device)
        return Attributed(
            outputs=outputs.detach(),
            active=usage.sum().item(),
            usage=usage,
            amounts=losses.attribution_powers(effects, self.p),
            pairs=Pairs.dense(every, self.target.dtype),
            captures=captures,
            gradients=gradients,
            effects=effects,
            p=self.p,
        )

    def directions(
        self, outputs: Float[Tensor, "n d"], generator: torch.Generator
    ) -> Float[Tensor, "k n d"]:
        """Along which the squared effects add up to (A_c / scale)^2, or to an estimate of it.

        The outputs themselves, or signs at random as in `apd.attribution.projected_attributions`.
        """
        d = outputs.shape[1]
        if self.projections is None:
            return every_output(outputs) / (math.sqrt(d) * self.scale)
        signs = random_signs(self.projections, outputs, generator)
        return signs / (math.sqrt(self.projections * d) * self.scale)
