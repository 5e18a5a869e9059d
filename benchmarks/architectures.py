"""The networks under attack."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from attacks import Pictures
from jaxtyping import Float
from torch import Tensor, nn


class Architecture(NamedTuple):
    """A kind of network.

    Attributes:
        network: makes one, for pictures of that side.
        inputs: the pictures as it reads them.
    """

    network: Callable[[int], nn.Sequential]
    inputs: Callable[[Pictures], Tensor]


def mlp(side: int) -> nn.Sequential:
    """Pixels-128-64-10."""
    return nn.Sequential(
        nn.Linear(side**2, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    )


def cnn(side: int) -> nn.Sequential:
    """Two convolutions that halve the side, then 64-10."""
    quarter = (side + 3) // 4
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * quarter**2, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


ARCHITECTURES = {
    "mlp": Architecture(mlp, lambda images: images.flatten(1)),
    "cnn": Architecture(cnn, lambda images: images[:, None]),
}


def hidden(model: nn.Sequential, x: Tensor) -> list[Float[Tensor, "n unit"]]:
    """The activations after every ReLU."""
    found = []
    for layer in model:
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            found.append(x.flatten(1))
    return found


def frozen(model: nn.Sequential) -> nn.Sequential:
    return model.eval().requires_grad_(False)
