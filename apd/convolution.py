"""Convolutions as matrix products over patches, so that every row rounds alike."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from apd.errors import TargetError
from apd.products import filling, products


def convolution(
    x: Float[Tensor, "n i *s"],
    weight: Float[Tensor, "o _i *k"],
    bias: Float[Tensor, "o"] | None = None,
    stride: Sequence[int] = (1,),
    padding: Sequence[int] | str = (0,),
    dilation: Sequence[int] = (1,),
    groups: int = 1,
) -> Float[Tensor, "n o *p"]:
    """ATen's conv1d and conv2d, in either way to say the padding.

    Where rows need not round alike it is the library's own, which forms no patches.
    """
    if not filling():
        library = (F.conv1d, F.conv2d)[weight.ndim - 3]
        return library(x, weight, bias, stride, padding, dilation, groups)
    y = images(
        each_group(
            patches(x, weight, stride, padding, dilation, groups),
            weight.flatten(1).unflatten(0, (groups, -1)),
        )
    )
    return y if bias is None else y + along_channels(bias, weight.ndim - 2)


def patches(
    x: Float[Tensor, "n i *s"],
    weight: Float[Tensor, "o _i *k"],
    stride: Sequence[int] = (1,),
    padding: Sequence[int] | str = (0,),
    dilation: Sequence[int] = (1,),
    groups: int = 1,
) -> Float[Tensor, "n g *p a"]:
    """What the weight is multiplied with at every position p, for every group of channels g.

    Args:
        x: the convolution's input.
        weight: its weight, which gives the kernel's size k.
        stride, padding, dilation, groups: as given to the convolution; one number stands for all
            directions.

    Returns:
        Vectors of a = (i / g) k numbers, in the order of the flattened weight.

    Raises:
        TargetError: x is a single input.
    """
    if x.ndim != weight.ndim:
        raise TargetError(
            f"a convolution is applied to a tensor of shape {tuple(x.shape)}; "
            "the first axis must be the inputs'"
        )
    kernel = tuple(weight.shape[2:])
    steps, gaps = every(stride, kernel), every(dilation, kernel)
    reach = [gap * (size - 1) for gap, size in zip(gaps, kernel, strict=True)]
    sides = margins(padding, reach)
    x = F.pad(x, [side for pair in reversed(sides) for side in pair])
    places = [(s - r - 1) // t + 1 for s, r, t in zip(x.shape[2:], reach, steps, strict=True)]
    if len(kernel) == 1:
        x, kernel, steps, gaps = x[:, :, None], (1, *kernel), (1, *steps), (1, *gaps)
    flat = F.unfold(x, kernel, gaps, stride=steps)
    return flat.reshape(len(x), groups, flat.shape[1] // groups, *places).movedim(2, -1)


def every(value: Sequence[int], kernel: Sequence[int]) -> tuple[int, ...]:
    """One number for every direction, where one may stand for all."""
    return tuple(value) * (len(kernel) // len(value))


def margins(padding: Sequence[int] | str, reach: Sequence[int]) -> list[tuple[int, int]]:
    """How many zeros go before and after the input in every direction; the odd one after it."""
    if padding == "same":
        return [(r // 2, r - r // 2) for r in reach]
    if isinstance(padding, str):
        return [(0, 0)] * len(reach)
    return [(side, side) for side in every(padding, reach)]


def each_group(
    x: Float[Tensor, "n g *p a"], matrices: Float[Tensor, "g b a"]
) -> Float[Tensor, "n g *p b"]:
    """x @ matrix^T, every group with its own; laid out with b ahead of the positions."""
    rows = x.flatten(0, 1).flatten(1, -2)
    y = products(matrices.expand(len(x), -1, -1, -1).flatten(0, 1), rows)
    return y.reshape(*x.shape[:2], y.shape[1], *x.shape[2:-1]).movedim(2, -1)


def images(y: Float[Tensor, "n g *p b"]) -> Float[Tensor, "n _o *p"]:
    """A vector per group and position, laid out as a convolution's output."""
    return y.movedim(-1, 2).flatten(1, 2).contiguous()


def along_channels(bias: Float[Tensor, "o"], directions: int) -> Tensor:
    """A bias shaped to be added to the output of a convolution in so many directions."""
    return bias.view(-1, *[1] * directions)
