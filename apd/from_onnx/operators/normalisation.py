"""Normalisations, with the statistics of training where they have some."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from apd.errors import TargetError


def batch_normalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Tensor:
    """Every channel by its own mean and variance in the file; `momentum` is about training.

    Raises:
        TargetError: it was exported to be trained on.
    """
    if training_mode:
        raise TargetError("BatchNormalization is in training mode; export the network after eval()")
    return F.batch_norm(x, mean, variance, scale, bias, eps=epsilon)


def layer_normalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Tensor:
    """Over all axes from one on; `stash_type` is about half precision."""
    return F.layer_norm(x, x.shape[axis:], scale, bias, epsilon)


def group_normalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Tensor:
    """Over positions and the channels of a group."""
    return F.group_norm(x, num_groups, scale, bias, epsilon)


def instance_normalization(
    x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5
) -> Tensor:
    """Over positions."""
    return F.group_norm(x, x.shape[1], scale, bias, epsilon)


NORMALISATION = {
    "BatchNormalization": batch_normalization,
    "LayerNormalization": layer_normalization,
    "GroupNormalization": group_normalization,
    "InstanceNormalization": instance_normalization,
}
