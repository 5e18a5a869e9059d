"""Gradients of outputs: of one for each input, or along directions of them all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

DIRECTIONS = 16
NUMBERS_AT_ONCE = 2**21
MOST_GRADIENTS = 2**25


def every_output(outputs: Float[Tensor, "n d"]) -> Float[Tensor, "d n d"]:
    """The directions of the outputs themselves."""
    n, d = outputs.shape
    eye = torch.eye(d, dtype=outputs.dtype, device=outputs.device)
    return eye[:, None].expand(d, n, d)


def random_signs(
    count: int, outputs: Float[Tensor, "n d"], generator: torch.Generator
) -> Float[Tensor, "{count} n d"]:
    """+1 or -1 with equal chances, independently; what is random is drawn on the CPU."""
    coins = torch.randint(2, (count, *outputs.shape), generator=generator)
    return 2 * coins.to(outputs) - 1


def fixed_directions(d: int) -> Float[Tensor, "k d"]:
    """Along which to add up squares of what happens to d outputs, the same whatever the inputs.

    The outputs themselves; of more than `DIRECTIONS` as many random directions, along which the sum
    is the same in the mean, with a variance of at most 2 / `DIRECTIONS` of its square
    (`apd.attribution.projected_attributions`).
    """
    if d <= DIRECTIONS:
        return torch.eye(d, dtype=torch.float64)
    one = torch.zeros(1, d, dtype=torch.float64)
    signs = random_signs(DIRECTIONS, one, torch.Generator().manual_seed(0))
    return signs[:, 0] / DIRECTIONS**0.5


def gradients_at(
    places: Sequence[Tensor], outputs: Float[Tensor, "n d"], chosen: Int[Tensor, "n"]
) -> tuple[Tensor, ...]:
    """The gradients of one chosen output of each input, zero at places that play no part in it.

    Args:
        places: what `outputs` have been made of.
        outputs: of a network.
        chosen: the output meant, for every input.
    """
    selected = outputs.gather(1, chosen[:, None]).sum()
    return torch.autograd.grad(selected, places, materialize_grads=True)


def gradients_along(
    places: Sequence[Tensor],
    outputs: Float[Tensor, "n d"],
    directions: Float[Tensor, "k n d"],
    numbers: int,
) -> Iterator[tuple[Tensor, ...]]:
    """The gradients of the outputs along directions, [some, n, ...] at a time.

    Args:
        places: what `outputs` have been made of.
        outputs: of a network.
        directions: along which to differentiate.
        numbers: how many it takes to work with one direction; there are `NUMBERS_AT_ONCE` at once,
            and no more than `MOST_GRADIENTS` in all of the gradients.
    """
    fitting = MOST_GRADIENTS // max(1, sum(place.numel() for place in places))
    for some in directions.split(max(1, min(NUMBERS_AT_ONCE // max(1, numbers), fitting))):
        yield gradients_at_once(places, outputs, some)


def gradients_at_once(
    places: Sequence[Tensor], outputs: Float[Tensor, "n d"], directions: Float[Tensor, "k n d"]
) -> tuple[Tensor, ...]:
    """The gradients of the outputs along all directions, [k, n, ...]; zero where there is no way.

    Args:
        places: what `outputs` have been made of.
        outputs: of a network; the graph is kept.
        directions: along which to differentiate.
    """
    found = torch.autograd.grad(
        outputs, places, directions, retain_graph=True, is_grads_batched=True, allow_unused=True
    )
    known = cast("tuple[Tensor | None, ...]", found)
    return tuple(
        place.new_zeros(len(directions), *place.shape) if g is None else g
        for g, place in zip(known, places, strict=True)
    )
