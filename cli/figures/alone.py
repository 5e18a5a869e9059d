"""Which inputs exercise one mechanism and no other."""

from torch import Tensor


def alone(exercised: Tensor) -> Tensor:
    """Of every input and mechanism, whether the one exercises the other alone: bool [n, k].

    A mechanism that comes with every other, as a layer that all inputs pass through does, keeps no
    other from being alone.

    Args:
        exercised: the mechanisms that each input exercises, bool [n, k].
    """
    everywhere = exercised[exercised.any(1)].all(0)
    own = exercised if bool(everywhere.all()) else exercised & ~everywhere
    return own & (own.sum(1, keepdim=True) == 1)
