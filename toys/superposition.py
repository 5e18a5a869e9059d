"""The toy model of superposition: more features than dimensions, one mechanism per feature.

Elhage et al. 2022 (arXiv 2209.10652); as used for parameter decomposition by Braun et al. 2025
(arXiv 2501.14926, section 3.1).
"""

from collections.abc import Iterator
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, mse_loss, relu

from toys.errors import ToyError
from toys.fit import fit, initialised
from toys.toy import Labelled, Toy

ACTIVE = 0.05
REFERENCE, INPUTS = 50_000, 2_000
ATTEMPTS = 10
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


def sample(n: int, features: int, generator: torch.Generator) -> Float[Tensor, "{n} {features}"]:
    """Sparse inputs: each feature is active with probability 0.05, and then uniform on [0, 1]."""
    size = torch.rand(n, features, generator=generator)
    active = torch.rand(n, features, generator=generator) < ACTIVE
    return size * active


def mechanisms(model: TMS) -> list[dict[str, Tensor]]:
    """One per feature j: {"W": W with every column but j zeroed}. They sum to W."""
    return [{"W": model.W.detach() * column} for column in torch.eye(model.W.shape[1])]


def build(features: int, hidden: int, seed: int) -> Toy:
    """The toy "tms-{features}-{hidden}": 50,000 reference rows and 2,000 clean inputs."""
    generator = torch.Generator().manual_seed(seed)
    model = _train(features, hidden, generator)
    return Toy(
        name=f"tms-{features}-{hidden}",
        seed=seed,
        model=model,
        reference=sample(REFERENCE, features, generator),
        inputs=Labelled.clean(sample(INPUTS, features, generator)),
        mechanisms=mechanisms(model),
    )


def _train(features: int, hidden: int, generator: torch.Generator) -> TMS:
    """A trained model in which no feature was dropped, from as many beginnings as it takes."""
    for _ in range(ATTEMPTS):
        seed = int(torch.randint(2**62, (), generator=generator))
        model = fit(
            initialised(partial(TMS, features, hidden), seed),
            _batches(features, generator),
            mse_loss,
            steps=2_000,
            lr=1e-2,
        )
        if model.W.square().sum(0).sqrt().min() > REPRESENTED:
            return model
    raise ToyError(f"No TMS of {features} features in {hidden} dimensions kept every feature.")


def _batches(features: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        x = sample(1_024, features, generator)
        yield x, x
