"""What components contributed to the outputs of inputs, at first order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from numpy.typing import NDArray
from torch import Tensor

from apd.attribution import effects_of_sites, positional_attributions, rms_attributions
from apd.components import Components
from apd.errors import TargetError
from apd.hooks import capture
from apd.output_gradients import every_output, gradients_along, gradients_at
from apd.sites import EmbeddingUse
from apd.strength import row_strengths
from apd.target import Target

PREDICTED = "predicted"
ALL = "all"


class Explained(NamedTuple):
    """What n inputs come to, and who contributed how much; an array or a tensor each.

    Attributes:
        outputs: [n, d].
        attributions: what each component contributed, [n, C].
        strengths: by which components are ranked, [n, C]; whatever the output explained.
        input_effects: what came in through each coordinate of an input and each token, [n, p]. A
            coordinate's is x_j d f / d x_j: where weights read it, the effect of what they read it
            with. A token's is <y, d f / d y>, y being its row of a decomposed embedding.
    """

    outputs: Any
    attributions: Any
    strengths: Any
    input_effects: Any


def explain(
    target: Target, components: Components, x: Shaped[Tensor, "n *shape"], output: str | int
) -> Explained:
    """Outputs and who contributed to them, in units of the output.

    Args:
        target: the network.
        components: of it.
        x: inputs.
        output: "predicted" (each input's largest output), the index of one output, or "all".

    Returns:
        Effects signed towards one output; their root mean square over outputs for "all".
    """
    with torch.enable_grad():
        entering = x.detach()[..., None].requires_grad_(x.is_floating_point())
        outputs, captures = capture(target, entering[..., 0])
    doors = [entering] if x.is_floating_point() else []
    doors += [seen.y for seen in captures if isinstance(seen.use, EmbeddingUse)]
    strengths = row_strengths(outputs, captures, components)
    if output == ALL:
        attributions = rms_attributions(outputs, captures, components)
        return Explained(outputs, attributions, strengths, rms_entered(doors, outputs))
    places = [seen.y for seen in captures]
    gradients = gradients_at([*places, *doors], outputs, chosen(outputs, output))
    signed = effects_of_sites(captures, gradients[: len(places)], components)
    at_doors = [g[None] for g in gradients[len(places) :]]
    return Explained(outputs, signed.sum(1), strengths, entered(doors, at_doors, len(x))[0])


def entered(doors: Sequence[Tensor], gradients: Sequence[Tensor], n: int) -> Float[Tensor, "k n p"]:
    """The effects of vectors on k scalars, in the order of the doors they came in by.

    Args:
        doors: the vectors, [n, ..., v] each; without any, there is a single effect of zero.
        gradients: of the scalars, [k, n, ..., v] each.
        n: how many inputs there are.
    """
    effects = [
        (door.detach() * g).sum(-1, keepdim=True).flatten(2)
        for door, g in zip(doors, gradients, strict=True)
    ]
    return torch.cat(effects, 2) if effects else torch.zeros(1, n, 1)


def rms_entered(doors: Sequence[Tensor], outputs: Float[Tensor, "n d"]) -> Float[Tensor, "n p"]:
    """The root mean square over outputs of the effects of what came in."""
    n, d = outputs.shape
    if not doors:
        return outputs.new_zeros(n, 1)
    numbers = sum(door.numel() for door in doors)
    squares = [
        entered(doors, gradients, n).square().sum(0)
        for gradients in gradients_along(doors, outputs, every_output(outputs), numbers)
    ]
    return (torch.stack(squares).sum(0) / d).sqrt()


def explain_positions(
    target: Target, components: Components, x: Shaped[Tensor, "n *shape"], output: str | int
) -> tuple[Float[Tensor, "n d"], dict[tuple[int, ...], Float[Tensor, "n ..."]]]:
    """The same towards one output, before the sum over positions (`positional_attributions`)."""
    outputs, captures = capture(target, x)
    return outputs, positional_attributions(outputs, captures, components, chosen(outputs, output))


def chosen(outputs: Float[Tensor, "n d"], output: str | int) -> Int[Tensor, "n"]:
    """The index of the output to explain, for every input.

    Raises:
        TargetError: there is no such output.
    """
    if output == PREDICTED:
        return outputs.detach().argmax(1)
    if output not in range(outputs.shape[1]):
        raise TargetError(f"there is no output {output!r}; the last one is {outputs.shape[1] - 1}")
    return torch.full((len(outputs),), int(output), device=outputs.device)


def as_array(x: Tensor) -> NDArray[Any]:
    """A tensor's values in a precision numpy has, outside any gradient computation."""
    return x.detach().cpu().to(torch.promote_types(x.dtype, torch.float32)).numpy()
