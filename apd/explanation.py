"""What components contributed to the outputs of inputs, at first order."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from numpy.typing import NDArray
from torch import Tensor

from apd.attribution import positional_attributions, rms_attributions, signed_attributions
from apd.components import Components
from apd.hooks import capture
from apd.target import Target

PREDICTED = "predicted"
ALL = "all"


def explain(
    target: Target, components: Components, x: Shaped[Tensor, "n *shape"], output: str | int
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n C"]]:
    """Outputs, and attributions per component over all its sites, in units of the output.

    Args:
        target: the network.
        components: of it.
        x: inputs.
        output: "predicted" (each input's largest output), the index of one output, or "all".

    Returns:
        Outputs; attributions, signed towards one output, the root mean square over outputs for
        "all".
    """
    outputs, captures = capture(target, x)
    if output == ALL:
        return outputs, rms_attributions(outputs, captures, components)
    signed = signed_attributions(outputs, captures, components, chosen(outputs, output))
    return outputs, signed.sum(1)


def explain_positions(
    target: Target, components: Components, x: Shaped[Tensor, "n *shape"], output: str | int
) -> tuple[Float[Tensor, "n d"], dict[tuple[int, ...], Float[Tensor, "n ..."]]]:
    """The same towards one output, before the sum over positions (`positional_attributions`)."""
    outputs, captures = capture(target, x)
    return outputs, positional_attributions(outputs, captures, components, chosen(outputs, output))


def chosen(outputs: Float[Tensor, "n d"], output: str | int) -> Int[Tensor, "n"]:
    """The index of the output to explain, for every input."""
    if output == PREDICTED:
        return outputs.detach().argmax(1)
    return torch.full((len(outputs),), int(output), device=outputs.device)


def as_array(x: Tensor) -> NDArray[Any]:
    """A tensor's values in a precision numpy has, outside any gradient computation."""
    return x.detach().cpu().to(torch.promote_types(x.dtype, torch.float32)).numpy()
