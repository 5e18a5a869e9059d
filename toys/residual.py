"""Residual streams: blocks of neurons that read from a vector and add to it."""

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, relu


class Block(nn.Module):
    """r -> r + W_out ReLU(W_in r + b), with W_in [neurons, d], W_out [d, neurons], b [neurons]."""

    def __init__(self, d: int, neurons: int, bias: bool) -> None:
        super().__init__()
        self.W_in = nn.Parameter(torch.randn(neurons, d) / (2 * d) ** 0.5)
        self.W_out = nn.Parameter(torch.randn(d, neurons) / (2 * d) ** 0.5)
        self.b = nn.Parameter(torch.zeros(neurons)) if bias else None

    def forward(self, r: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The residual stream after this block."""
        return r + linear(relu(linear(r, self.W_in, self.b)), self.W_out)


class Residual(nn.Module):
    """x -> W_U block_L(... block_1(W_E^T x)), with W_E [inputs, d] and W_U [outputs, d] fixed.

    W_E and W_U are buffers: they are part of the network and nothing to decompose.
    """

    W_E: Tensor
    W_U: Tensor

    def __init__(
        self,
        W_E: Float[Tensor, "inputs d"],
        W_U: Float[Tensor, "outputs d"],
        neurons: Sequence[int],
        *,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("W_E", W_E.clone())
        self.register_buffer("W_U", W_U.clone())
        self.blocks = nn.ModuleList(Block(W_E.shape[1], width, bias) for width in neurons)

    def forward(self, x: Float[Tensor, "n inputs"]) -> Float[Tensor, "n outputs"]:
        """What is read off the residual stream after the last block."""
        r = x @ self.W_E
        for block in self.blocks:
            r = block(r)
        return linear(r, self.W_U)


def blocks(model: Residual) -> list[Block]:
    """A network's blocks, first to last."""
    return list(cast(Iterable[Block], model.blocks))
