"""What a decomposition starts from: target, reference and settings, checked and cut to size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from apd.config import Config
from apd.inputs import Arrays
from apd.reference import check_reference, first_rows, tensors_of, training_rows
from apd.target import Target
from apd.training.sizing import sized


class Setup(NamedTuple):
    """A decomposition before its first step.

    Attributes:
        target: the network as data.
        x: the reference as the target takes it, [n, *shape].
        rows: those of its rows to train on.
        config: the settings, the batch cut to what fits.
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
        ReferenceError: the reference is too small or is not finite.
    """
    given = tensors_of(reference)
    check_reference(given)
    if isinstance(target, nn.Module):
        target = Target.of(target, first_rows(given), config.sites, config.output)
    x = target.prepare(given)
    return Setup(target, x, training_rows(len(x), config), sized(config, target))
