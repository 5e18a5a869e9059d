"""How well inputs run on their active components give what the target gives."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from apd.components import Components
from apd.config import Config
from apd.masked import masked_captures, own_outputs
from apd.target import Target
from apd.training import losses
from apd.training.background import Background
from apd.training.gradient import Mixture, Pass
from apd.training.objectives import Selection
from apd.training.scales import Scales


class Reproduction(NamedTuple):
    """One masked pass: its losses over their scales, and what the gradient of both depends on.

    Attributes:
        minimality: the loss of the outputs.
        reconstruction: the loss of the hidden outputs.
        active: the pass, as far as it is active components'.
        staying: what stays of all components, active or not.
    """

    minimality: Float[Tensor, ""]
    reconstruction: Float[Tensor, ""]
    active: Pass
    staying: Mixture


def reproduction(
    target: Target,
    components: Components,
    x: Shaped[Tensor, "n *shape"],
    selection: Selection,
    config: Config,
    scales: Scales,
    background: Background,
) -> Reproduction:
    """Run every input on its active components, on top of a background.

    The outputs' loss counts by its logarithm, as a network of steep functions run on too few of its
    components may be wrong by hundreds of times its scale.
    """
    pairs = background.beside(selection.pairs)
    with torch.enable_grad():
        masked, captures = masked_captures(background.target, components, x, pairs)
        minimality = losses.OUTPUT_LOSSES[config.loss](selection.outputs, masked) / scales.outputs
        own = own_outputs(target, x, scales.hidden)
        hidden = {c.use.node: c.y for c in captures}
        reconstruction = losses.reconstruction(own, hidden, scales.hidden)
        loss = config.minimality * minimality.log1p() + config.reconstruction * reconstruction
        weights, places = background.weights, [c.y for c in captures]
        found = torch.autograd.grad(loss, [*places, *weights.values()], materialize_grads=True)
    errors, slopes = found[: len(places)], found[len(places) :]
    at_weights = {site: g.flatten(1) for site, g in zip(weights, slopes, strict=True)}
    staying = Mixture(background.staying, at_weights)
    return Reproduction(minimality, reconstruction, Pass(captures, errors, pairs), staying)
