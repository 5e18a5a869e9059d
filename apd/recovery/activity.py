"""Which components inputs use, and how many of them a mechanism takes."""

from __future__ import annotations

from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from apd.activity import strengths, strongest
from apd.components import Components
from apd.store import Saved


def active_components(run: Saved, x: Shaped[Tensor, "n *shape"]) -> Bool[Tensor, "n C"]:
    """Each input's active components, as many of all inputs together as the run is said to use.

    Top-k of the batch that these inputs are (APD, arXiv 2501.14926, section 2.2).
    """
    return strongest(strengths(run.target, run.components, x), run.active)


def dead(components: Components) -> Bool[Tensor, "C"]:
    """Which components hold no weights to speak of: those of effective rank 0."""
    return components.ranks() == 0


def shares(active: Bool[Tensor, "n C"], exercised: Bool[Tensor, "n k"]) -> Float[Tensor, "k C"]:
    """How often each component is active on the inputs that exercise a mechanism and no other.

    Args:
        active: each input's active components.
        exercised: the mechanisms (or features) that each input exercises. One that always comes
            with others is never alone, and is left out.

    Returns:
        Shares of those inputs; NaN for a mechanism that no input exercises alone.
    """
    alone = (exercised & (exercised.sum(1, keepdim=True) == 1)).double()
    return alone.T @ active.double() / alone.sum(0)[:, None]


def components_per_mechanism(shares: Float[Tensor, "k C"], above: float = 0.5) -> Int[Tensor, "k"]:
    """How many components are active on more than a share of the inputs of one mechanism."""
    return (shares > above).sum(1)


def participation(shares: Float[Tensor, "k C"]) -> Float[Tensor, "k"]:
    """(sum_c s_c)^2 / sum_c s_c^2: how many components it would be if all had equal shares."""
    return shares.sum(1).square() / shares.square().sum(1)
