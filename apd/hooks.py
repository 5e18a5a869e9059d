"""Watching and replacing what happens where weights act, without touching the target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from apd.sites import Use
from apd.target import Target


class Capture(NamedTuple):
    """One use during one forward: its input x and its output y (y carries the gradient graph)."""

    use: Use
    x: Tensor
    y: Tensor


def capture(
    target: Target, x: Shaped[Tensor, "n *shape"]
) -> tuple[Float[Tensor, "n d"], list[Capture]]:
    """Run the target and keep the input and output of every use of every site.

    The outputs are differentiable with respect to every captured y, and to the inputs where these
    ask for it, but to no weight.
    """
    seen: list[Capture] = []

    def watch(use: Use) -> Callable[..., Tensor]:
        def call(operator: Callable[..., Tensor], *args: Any) -> Tensor:
            y = operator(*args)
            operand, _ = use.operands(args)
            seen.append(Capture(use, operand.detach(), y.requires_grad_()))
            return y

        return call

    with torch.enable_grad():
        outputs = target.run(x, {use.node: watch(use) for use in target.uses})
    return differentiable(outputs), seen


def replace(
    target: Target,
    x: Shaped[Tensor, "n *shape"],
    compute: Callable[[Use, Tensor], Tensor],
) -> Float[Tensor, "n d"]:
    """Run the target with `compute(use, input)` in place of every product with a site's weight.

    Biases are added as the target adds them.

    Args:
        target: the network.
        x: inputs.
        compute: what stands for a product.
    """

    def substitute(use: Use) -> Callable[..., Tensor]:
        def call(operator: Callable[..., Tensor], *args: Any) -> Tensor:
            operand, bias = use.operands(args)
            y = compute(use, operand)
            return y if bias is None else y + bias

        return call

    return target.run(x, {use.node: substitute(use) for use in target.uses})


def add(
    target: Target, x: Shaped[Tensor, "n *shape"], compute: Callable[[Use, Tensor], Tensor]
) -> tuple[Float[Tensor, "n d"], list[Capture]]:
    """Run the target with `compute(use, input)` added to every product with a site's weight.

    Args:
        target: the network.
        x: inputs.
        compute: what is added to a product.

    Returns:
        The outputs, and the input and output of every use, biases aside.
    """
    seen: list[Capture] = []

    def extend(use: Use) -> Callable[..., Tensor]:
        def call(operator: Callable[..., Tensor], *args: Any) -> Tensor:
            operand, bias = use.operands(args)
            product = operator(*args) if bias is None else operator(*args) - bias
            y = product + compute(use, operand)
            seen.append(Capture(use, operand.detach(), y))
            return y if bias is None else y + bias

        return call

    outputs = target.run(x, {use.node: extend(use) for use in target.uses})
    return differentiable(outputs) if torch.is_grad_enabled() else outputs, seen


def differentiable(outputs: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Outputs whose gradients can be asked for, though no weight moves them by any slope."""
    return outputs if outputs.requires_grad else outputs.requires_grad_()
