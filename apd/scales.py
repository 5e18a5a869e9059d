"""What makes the losses, and the steps down them, comparable between targets."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from apd import losses
from apd.config import Config
from apd.errors import ReferenceError
from apd.target import Target

SAMPLE = 4096


@dataclass(frozen=True)
class Scales:
    """What makes the losses comparable between targets.

    Attributes:
        weights: mean square of the decomposed weights.
        outputs: the minimality loss without any component.
        mechanisms: the size of a typical mechanism at every site, the root mean square of the
            weight's singular values.
        simplicity: the simplicity loss of one mechanism of that size that every input uses.
    """

    weights: Float[Tensor, ""]
    outputs: Float[Tensor, ""]
    mechanisms: dict[str, float]
    simplicity: float


def scales_of(target: Target, reference: Shaped[Tensor, "n *shape"], config: Config) -> Scales:
    """The scales that make the losses of different targets comparable.

    Args:
        target: the network to decompose.
        reference: the rows to decompose on.
        config: the settings.

    Raises:
        ReferenceError: the outputs do not vary over the reference, or the weights do not matter.
    """
    weights = [target.weight(site) for site in target.sites]
    total = torch.stack([w.square().sum() for w in weights]).sum()
    some = reference[:SAMPLE]
    outputs = target(some)
    if not bool((outputs != outputs[0]).any()):
        raise ReferenceError("the target's outputs are the same on all of the reference")
    nothing = {site: torch.zeros_like(target.weight(site)) for site in target.sites}
    missing = losses.OUTPUT_LOSSES[config.loss](outputs, target.with_weights(nothing)(some))
    if not bool(missing > 0):
        raise ReferenceError("the decomposed weights make no difference on the reference")
    mechanisms = {
        site: float(w.norm()) / min(w.shape) ** 0.5
        for site, w in zip(target.sites, weights, strict=True)
    }
    return Scales(
        weights=total / sum(w.numel() for w in weights),
        outputs=missing,
        mechanisms=mechanisms,
        simplicity=sum(size**config.schatten_p for size in mechanisms.values()),
    )
