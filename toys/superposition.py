"""The toy model of superposition: more features than dimensions, one mechanism per feature.

Elhage et al. 2022 (arXiv 2209.10652); as used for parameter decomposition by Braun et al. 2025
(arXiv 2501.14926, section 3.1).
"""

from collections.abc import Iterator
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import linear, mse_loss, relu

from toys.errors import ToyError
from toys.fit import fit, initialised
from toys.planted import draw
from toys.toy import Toy

ACTIVE = 0.05
ATTEMPTS, STEPS = 10, 2_000
REPRESENTED = 0.9


class TMS(nn.Module):
    """x -> ReLU(W^T W x + b), with W [hidden, features] and b [features]."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.randn(hidden, features) / hidden**0.5)
        self.b = nn.Parameter(torch.zeros(features))

    def forward(self, x: Float[Tensor, "n features"]) -> Float[Tensor, "n features"]:
        """The reconstruction of x."""
        return relu(linear(linear(x, self.W), self.W.T, self.b))


def sample(features: int, n: int, generator: torch.Generator) -> Float[Tensor, "{n} {features}"]:
    """Sparse inputs: each feature is active with probability 0.05, and then uniform on [0, 1]."""
    size = torch.rand(n, features, generator=generator)
    active = torch.rand(n, features, generator=generator) < ACTIVE
    return size * active


def active(x: Float[Tensor, "n features"]) -> Bool[Tensor, "n features"]:
    """Mechanism j is exercised where feature j is not zero."""
    return x != 0


def mechanisms(W: Float[Tensor, "hidden features"]) -> list[dict[str, Tensor]]:
    """One per feature j: {"W": W with every column but j zeroed}. They sum to W."""
    return [{"W": W.detach() * column} for column in torch.eye(W.shape[1])]


def build(features: int, hidden: int, seed: int, planted: bool = False) -> Toy:
    """The toy "tms-{features}-{hidden}"; the planted mechanism is that of feature seed % features.

    A planted anomaly is a feature that is never active in the reference.
    """
    generator = torch.Generator().manual_seed(seed)
    model = trained(features, hidden, generator)
    absent = seed % features if planted else None
    reference, inputs = draw(partial(sample, features), active, absent, generator)
    return Toy(
        name=f"tms-{features}-{hidden}",
        seed=seed,
        model=model,
        reference=reference,
        inputs=inputs,
        mechanisms=mechanisms(model.W),
        planted=absent,
    )


def trained(features: int, hidden: int, generator: torch.Generator) -> TMS:
    """A trained model in which no feature was dropped, from as many beginnings as it takes.

    Raises:
        ToyError: if ten beginnings are not enough.
    """
    for _ in range(ATTEMPTS):
        seed = int(torch.randint(2**62, (), generator=generator))
        model = fit(
            initialised(partial(TMS, features, hidden), seed),
            _batches(features, generator),
            mse_loss,
            steps=STEPS,
            lr=1e-2,
        )
        if model.W.square().sum(0).sqrt().min() > REPRESENTED:
            return model
    raise ToyError(f"No TMS of {features} features in {hidden} dimensions kept every feature.")


def _batches(features: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        x = sample(features, 1_024, generator)
        yield x, x
