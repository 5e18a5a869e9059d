"""Products of values with values, and attention made of them, so that every input rounds alike."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from apd.errors import TargetError
from apd.products import filling, product, products


def matmul(x: Float[Tensor, "*b n k"], y: Float[Tensor, "*c k d"]) -> Float[Tensor, "*e n d"]:
    """x @ y; every row rounds alike, and every matrix of a stack, whatever its place."""
    if min(x.ndim, y.ndim) < 2 or not filling():
        return x @ y
    if y.ndim == 2:
        return product(x, y.mT)
    if x.ndim == 2:
        return product(y.mT, x).mT
    stack = torch.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    rows = x.expand(*stack, -1, -1).flatten(0, -3)
    matrices = y.mT.expand(*stack, -1, -1).flatten(0, -3)
    return products(rows, matrices).unflatten(0, stack)


def attention(
    query: Float[Tensor, "*n q k"],
    key: Float[Tensor, "*m p k"],
    value: Float[Tensor, "*m p d"],
    mask: Shaped[Tensor, "..."] | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Float[Tensor, "*n q d"]:
    """ATen's scaled_dot_product_attention, which has no batched gradients.

    Args:
        query, key, value: what attends, what it looks for, and what it finds.
        mask: where attention is allowed, or what is added to its logits.
        dropout_p: must be zero.
        is_causal: whether attention to later positions is masked.
        scale: of the logits; 1/sqrt(k) where none is given.
        enable_gqa: whether a head of keys and values serves several heads of queries.

    Raises:
        TargetError: there is dropout.
    """
    if dropout_p:
        raise TargetError(
            f"the target's attention drops {dropout_p:.3g} of its weights even in evaluation; "
            "give it dropout_p=self.dropout if self.training else 0.0"
        )
    if enable_gqa:
        served = query.shape[-3] // key.shape[-3]
        key, value = (t.repeat_interleave(served, -3) for t in (key, value))
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    logits = matmul(query * scale, key.mT)
    if is_causal:
        mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
    if mask is not None and mask.dtype == torch.bool:
        logits = logits.masked_fill(~mask, -math.inf)
    elif mask is not None:
        logits = logits + mask
    return matmul(weights(logits), value)


def weights(logits: Float[Tensor, "*n q p"]) -> Float[Tensor, "*n q p"]:
    """Softmax over what is looked at; zero where everything is masked."""
    nothing: Bool[Tensor, "*n q 1"] = logits.isneginf().all(-1, keepdim=True)
    return logits.masked_fill(nothing, 0).softmax(-1).masked_fill(nothing, 0)
