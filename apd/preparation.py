"""What a decomposition starts from: target, reference and settings, checked and cut to size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from apd.batch_sizes import rows_at_once
from apd.config import Config
from apd.hooks import capture
from apd.inputs import Arrays
from apd.reference import (
    Reference,
    check_finite,
    check_reference,
    first_rows,
    tensors_of,
    training_rows,
)
from apd.target import Target
from apd.training.sizing import sized


class Setup(NamedTuple):
    """A decomposition before its first step.

    Attributes:
        target: the network as data.
        x: the reference as the target takes it, [n, *shape].
        rows: those of its rows to train on.
        config: the settings, rank and batch cut to what fits.
    """

    target: Target
    x: Tensor
    rows: Int[Tensor, "rows"]
    config: Config

    @property
    def trained_on(self) -> Shaped[Tensor, "rows *shape"]:
        """The inputs to train on."""
        return self.x[self.rows.to(self.x.device)]


def set_up(
    target: nn.Module | Target,
    reference: Shaped[Tensor, "n *shape"] | Shaped[np.ndarray, "n *shape"] | Arrays,
    config: Config,
) -> Setup:
    """Freeze the target, look at the reference, and cut the settings to size.

    Raises:
        TargetError: the network cannot be decomposed.
        ReferenceError: the reference is too small, is not finite, or takes the network out of the
            range of its numbers.
    """
    given = tensors_of(reference)
    check_reference(given)
    target = frozen(target, given, config)
    x = target.prepare(given)
    sizes = torch.cat(
        [numbers_squared(target, block) for block in x.split(rows_at_once(target, 0))]
    )
    check_finite(
        sizes,
        "the reference takes the network out of the range of its numbers, or holds a token that it "
        "has no row for,",
    )
    return Setup(target, x, training_rows(len(x), config), sized(config, target))


def frozen(target: nn.Module | Target, reference: Reference, config: Config) -> Target:
    """The network as data, with the sites that the settings name, and the output.

    What is data already has its output, and no other sites than its own.

    Raises:
        TargetError: it cannot be decomposed.
    """
    if isinstance(target, Target):
        return target.matching(config.sites)
    return Target.of(target, first_rows(reference), config.sites, config.output)


def numbers_squared(target: Target, x: Shaped[Tensor, "n *shape"]) -> Float[Tensor, "n"]:
    """The sum of the squares of what reaches the sites and comes out, which training works with."""
    outputs, seen = capture(target, x)
    numbers = [outputs.detach(), *(use.x for use in seen)]
    return torch.stack([part.square().flatten(1).sum(1) for part in numbers]).sum(0)
