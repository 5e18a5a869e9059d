"""Every toy by name. A new toy is one file and one row here."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from toys import boolean, digits, gated, identity, residual_mlp, superposition
from toys.circuit import Circuit, random_circuit
from toys.errors import ToyError
from toys.toy import Toy


@dataclass(frozen=True)
class Recipe:
    """How a toy comes about.

    Attributes:
        architecture: from the seed, the network before its weights are set.
        build: from the seed, and whether one mechanism is kept out of the reference, the toy.
        active: from the seed and inputs, which mechanisms each input exercises, [n, mechanisms].
    """

    architecture: Callable[[int], nn.Module]
    build: Callable[[int, bool], Toy]
    active: Callable[[int, Tensor], Tensor]


def _tms(features: int, hidden: int) -> Recipe:
    return Recipe(
        lambda seed: superposition.TMS(features, hidden),
        partial(superposition.build, features, hidden),
        lambda seed, x: superposition.active(x),
    )


def _identity(features: int, hidden: int) -> Recipe:
    return Recipe(
        lambda seed: identity.IdentityTMS(features, hidden),
        partial(identity.build, features, hidden),
        lambda seed, x: identity.active(x),
    )


def _residual_mlp(name: str, neurons: list[int]) -> Recipe:
    return Recipe(
        partial(residual_mlp.architecture, residual_mlp.FEATURES, residual_mlp.DIMENSIONS, neurons),
        partial(residual_mlp.build, name, neurons),
        lambda seed, x: residual_mlp.active(x),
    )


def _gated(name: str, layers: int) -> Recipe:
    return Recipe(
        lambda seed: gated.architecture(layers),
        partial(gated.build, name, layers),
        lambda seed, x: gated.active(x),
    )


def _circuit(seed: int) -> Circuit:
    return random_circuit(16, (12, 8), seed)


TOYS: dict[str, Recipe] = {
    "tms-5-2": _tms(5, 2),
    "tms-40-10": _tms(40, 10),
    "tms-5-2-identity": _identity(5, 2),
    "tms-40-10-identity": _identity(40, 10),
    "compressed-computation": _residual_mlp("compressed-computation", [50]),
    "cross-layer-2": _residual_mlp("cross-layer-2", [25, 25]),
    "cross-layer-3": _residual_mlp("cross-layer-3", [17, 17, 17]),
    "gated": _gated("gated", 1),
    "gated-2": _gated("gated-2", 2),
    "boolean": Recipe(
        lambda seed: boolean.compiled_architecture(_circuit(seed)),
        lambda seed, planted: boolean.build(_circuit(seed), seed, planted),
        lambda seed, x: boolean.active(_circuit(seed), x),
    ),
    "boolean-trained": Recipe(
        lambda seed: boolean.learning_architecture(_circuit(seed)),
        lambda seed, planted: boolean.build_trained(_circuit(seed), seed, planted),
        lambda seed, x: boolean.active(_circuit(seed), x),
    ),
    "digits": Recipe(
        lambda seed: digits.architecture(),
        lambda seed, planted: digits.build(seed),
        lambda seed, x: torch.zeros(len(x), 0, dtype=torch.bool),
    ),
}


def recipe(name: str) -> Recipe:
    """The row of that name.

    Raises:
        ToyError: if there is none.
    """
    if name not in TOYS:
        raise ToyError(f"There is no toy named {name!r}; there are {', '.join(TOYS)}.")
    return TOYS[name]


def make(name: str, seed: int = 0, *, planted: bool = False) -> Toy:
    """The toy of that name; the same seed gives the same toy, bit for bit.

    Args:
        name: a key of `TOYS`.
        seed: of its weights and its inputs.
        planted: keep one mechanism, `Toy.planted`, out of the reference, and have inputs to score
            that exercise it; the network stays as it is. "digits" has its backdoor either way.

    Raises:
        ToyError: if there is no toy of that name.
    """
    return recipe(name).build(seed, planted)


def active(toy: Toy, x: Float[Tensor, "n ..."]) -> Bool[Tensor, "n mechanisms"]:
    """Which mechanisms each input exercises, known from the inputs and not from the network.

    One column per mechanism, in the order of `toy.mechanisms` where that is not empty; of "digits",
    no column.
    """
    return recipe(toy.name).active(toy.seed, x)
