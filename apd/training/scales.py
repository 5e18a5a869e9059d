"""What makes the losses, and the steps down them, comparable between targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from apd.batch_sizes import numbers_of, rows_that_fit
from apd.config import Config
from apd.errors import ConfigError, ReferenceError
from apd.masked import own_outputs
from apd.reference import FEWEST_ROWS, spread_over
from apd.sites import fits
from apd.target import Target
from apd.training import losses

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
        hidden: the mean square of what the target computes, biases aside, at every use whose output
            is to be reproduced, by the use's node.
    """

    weights: Float[Tensor, ""]
    outputs: Float[Tensor, ""]
    mechanisms: dict[str, float]
    simplicity: float
    hidden: Mapping[str, Float[Tensor, ""]]


def scales_of(target: Target, reference: Shaped[Tensor, "n *shape"], config: Config) -> Scales:
    """The scales that make the losses of different targets comparable.

    Args:
        target: the network to decompose.
        reference: the rows to decompose on.
        config: the settings.

    Raises:
        ConfigError: a hidden output is asked for that is not there.
        ReferenceError: the outputs do not vary over the reference, or the weights do not matter.
    """
    weights = [target.weight(site) for site in target.sites]
    total = torch.stack([w.square().sum() for w in weights]).sum()
    some = sample(target, reference)
    outputs = target(some)
    if not bool((outputs != outputs[0]).any()):
        raise ReferenceError("the target's outputs are the same on all of the reference")
    without = missing(target, some, config)
    if not bool(without > 0):
        raise ReferenceError("the decomposed weights make no difference on the reference")
    mechanisms = typical_sizes(target)
    return Scales(
        weights=total / sum(w.numel() for w in weights),
        outputs=without,
        mechanisms=mechanisms,
        simplicity=sum(size**config.schatten_p for size in mechanisms.values()),
        hidden=hidden_scales(target, some, hidden_sites(target, config.hidden)),
    )


def typical_sizes(target: Target) -> dict[str, float]:
    """The root mean square of every site's singular values."""
    return {
        site: float(target.weight(site).norm()) / min(target.weight(site).shape) ** 0.5
        for site in target.sites
    }


def typical_size(target: Target) -> float:
    """That of a target's only site."""
    (size,) = typical_sizes(target).values()
    return size


def missing(target: Target, x: Shaped[Tensor, "n *shape"], config: Config) -> Float[Tensor, ""]:
    """The loss of the outputs without the decomposed weights."""
    nothing = {site: torch.zeros_like(target.weight(site)) for site in target.sites}
    return losses.OUTPUT_LOSSES[config.loss](target(x), target.with_weights(nothing)(x))


def sample(target: Target, reference: Shaped[Tensor, "n *shape"]) -> Shaped[Tensor, "some *shape"]:
    """As much of a reference as its scales are measured on: what fits of `SAMPLE` rows."""
    fitting = min(SAMPLE, rows_that_fit(numbers_of(target)))
    return spread_over(reference, max(FEWEST_ROWS, fitting))


def hidden_sites(target: Target, patterns: Sequence[str]) -> list[str]:
    """The sites that match a pattern.

    Raises:
        ConfigError: a pattern matches none.
    """
    for pattern in patterns:
        if not any(fits(site, pattern) for site in target.sites):
            raise ConfigError(
                f"setting 'hidden': no site matches {pattern!r}; there are "
                f"{', '.join(target.sites)}"
            )
    return [site for site in target.sites if any(fits(site, p) for p in patterns)]


def hidden_scales(
    target: Target, x: Shaped[Tensor, "n *shape"], sites: Sequence[str]
) -> dict[str, Float[Tensor, ""]]:
    """The mean square of the output of every use of some sites, by the use's node."""
    nodes = [use.node for site in sites for use in target.sites[site].uses]
    with torch.no_grad():
        own = own_outputs(target, x, nodes)
    return {node: y.square().mean() for node, y in own.items()}
