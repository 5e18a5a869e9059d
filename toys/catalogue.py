"""Every toy by name. A new toy is one file and one row here."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from toys import digits, superposition
from toys.errors import ToyError
from toys.toy import Toy


@dataclass(frozen=True)
class Recipe:
    """How a toy comes about: its untrained network, and the whole toy from a seed."""

    architecture: Callable[[], nn.Module]
    build: Callable[[int], Toy]


TOYS: dict[str, Recipe] = {
    "tms-5-2": Recipe(partial(superposition.TMS, 5, 2), partial(superposition.build, 5, 2)),
    "tms-40-10": Recipe(partial(superposition.TMS, 40, 10), partial(superposition.build, 40, 10)),
    "digits": Recipe(digits.architecture, digits.build),
}


def recipe(name: str) -> Recipe:
    """The row of that name.

    Raises:
        ToyError: if there is none.
    """
    if name not in TOYS:
        raise ToyError(f"There is no toy named {name!r}; there are {', '.join(TOYS)}.")
    return TOYS[name]


def make(name: str, seed: int = 0) -> Toy:
    """Trains the toy of that name; the same seed gives the same toy, bit for bit.

    Raises:
        ToyError: if there is no toy of that name.
    """
    return recipe(name).build(seed)
