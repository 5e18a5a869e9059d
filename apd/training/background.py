"""What an input is run on beside its active components.

Random shares of some other components, the same for all inputs of a step, until the very end. What
an input does not use must then not matter to it, whichever of it is there: components can neither
leave a part of what an input needs to those that it does not use, nor make up for each other where
none of them is used. (Bushnaq, Braun and Sharkey 2025, arXiv 2506.20790, have stochastic masks to
that end.) How many are there is drawn as well. Were it always about half of many small components,
these would come to about half of their sum, and inputs could rely on that.

While components find their places, a share of all weights stays besides. A neuron that is off
without it has no slope, so nothing would make components account for it: with it, it is on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from apd.components import Components
from apd.pairs import Pairs
from apd.target import Target


@dataclass(frozen=True)
class Background:
    """What is there in the masked pass whatever is active.

    Attributes:
        target: the network with those weights alone, rest theta* + sum_c staying_c P_c.
        rest: the share of all weights that stays.
        staying: how much of every component does besides.
    """

    target: Target
    rest: float
    staying: Float[Tensor, "C"]

    def beside(self, pairs: Pairs) -> Pairs:
        """What active components have on top of it, so that each is there as a whole."""
        return pairs.times(1 - self.rest - self.staying)

    @property
    def weights(self) -> dict[str, Tensor]:
        """Of every site, as the network holds them."""
        return {site: self.target.state[site] for site in self.target.sites}


def background_of(
    target: Target,
    components: Components,
    rest: float,
    most: float,
    generator: torch.Generator,
) -> Background:
    """A background drawn at random.

    Its weights ask for gradients.

    Args:
        target: the network.
        components: its components.
        rest: the share of all weights that stays.
        most: how much of a component may, of what is not in the rest.
        generator: what is random is drawn from.
    """
    shares = random_shares(components.count, generator).to(target.device, target.dtype)
    staying = (1 - rest) * most * shares
    mixture = components.mixture(staying)
    behind = target.with_weights({s: w + rest * target.weight(s) for s, w in mixture.items()})
    for site in behind.sites:
        behind.state[site].requires_grad_()
    return Background(behind, rest, staying)


def random_shares(count: int, generator: torch.Generator) -> Float[Tensor, "{count}"]:
    """Uniform in [0, 1] for some components and 0 for the others.

    Which they are is drawn too, and how many, from none to all alike.
    """
    shares = torch.rand(count, generator=generator)
    some = torch.rand(1, generator=generator)
    return shares * (torch.rand(count, generator=generator) < some)
