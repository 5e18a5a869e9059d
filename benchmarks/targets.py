"""The networks that are timed, with random weights: how long a step takes does not depend on them.

Each is written once, as `compute(x, apply)`, where `apply` stands for the product with a decomposed
weight. The network itself multiplies with the weight; the naive twin puts its own form there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from apd import Config, Target

Apply = Callable[..., Tensor]


class Network(nn.Module):
    """A network whose decomposed weights are the parameters named in `sites`."""

    sites: tuple[str, ...]

    def compute(self, x: Tensor, apply: Apply) -> Tensor:
        """The outputs, with `apply(x, site, transposed=False)` for x W^T, or x W if transposed."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(x, self.dense)

    def dense(self, x: Tensor, site: str, transposed: bool = False) -> Tensor:
        weight = getattr(self, site)
        return F.linear(x, weight.T if transposed else weight)

    def add(self, site: str, *shape: int) -> None:
        self.register_parameter(site, random_weight(*shape))

    def weights(self) -> dict[str, Tensor]:
        return {site: getattr(self, site).detach() for site in self.sites}


class TMS(Network):
    """x -> ReLU(W^T W x + b)."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.sites = ("W",)
        self.add("W", hidden, features)
        self.b = nn.Parameter(0.1 * torch.randn(features))

    def compute(self, x: Tensor, apply: Apply) -> Tensor:
        return F.relu(apply(apply(x, "W"), "W", transposed=True) + self.b)


class ResidualMLP(Network):
    """Fixed embedding, blocks that each add W_out ReLU(W_in x + b), the embedding transposed."""

    def __init__(self, features: int, residual: int, neurons: int, layers: int) -> None:
        super().__init__()
        self.layers = layers
        self.sites = tuple(f"{kind}_{i}" for i in range(layers) for kind in ("W_in", "W_out"))
        self.register_buffer("W_E", F.normalize(torch.randn(features, residual), dim=1))
        for i in range(layers):
            self.add(f"W_in_{i}", neurons, residual)
            self.add(f"W_out_{i}", residual, neurons)
            self.register_parameter(f"b_{i}", nn.Parameter(0.1 * torch.randn(neurons)))

    def compute(self, x: Tensor, apply: Apply) -> Tensor:
        stream = x @ self.W_E
        for i in range(self.layers):
            hidden = F.relu(apply(stream, f"W_in_{i}") + getattr(self, f"b_{i}"))
            stream = stream + apply(hidden, f"W_out_{i}")
        return stream @ self.W_E.T


class MLP(Network):
    """Layers of the given widths with biases, ReLU between them."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.sites = tuple(f"W_{i}" for i in range(len(widths) - 1))
        for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
            self.add(f"W_{i}", fan_out, fan_in)
            self.register_parameter(f"b_{i}", nn.Parameter(0.1 * torch.randn(fan_out)))

    def compute(self, x: Tensor, apply: Apply) -> Tensor:
        for i, site in enumerate(self.sites):
            x = apply(F.relu(x) if i else x, site) + getattr(self, f"b_{i}")
        return x


@dataclass(frozen=True)
class Problem:
    """A network, its inputs, and the settings of its decomposition.

    Attributes:
        name: what the table calls it.
        make: builds the network.
        sample: draws n inputs.
        settings: of `apd.Config`.
    """

    name: str
    make: Callable[[], Network]
    sample: Callable[[int], Tensor]
    settings: dict[str, Any]

    def network(self, device: str) -> Network:
        """The network, the same at every call."""
        torch.manual_seed(0)
        return self.make().to(device)

    def inputs(self, n: int, device: str) -> Tensor:
        """n inputs, the same at every call."""
        torch.manual_seed(1)
        return self.sample(n).to(device)

    def config(self) -> Config:
        """The settings, with the schedules held at their plateau: k tight, full penalty."""
        plateau = {"steps": 10**6, "warmup": 0.0, "narrowing": 0.0}
        return Config.of({**plateau, "learning_rate": 1e-3, **self.settings})


def frozen(network: Network, x: Tensor) -> Target:
    """The network as the package sees it."""
    return Target.of(network.cpu(), x[:2].cpu(), network.sites).to(x.device)


def random_weight(*shape: int) -> nn.Parameter:
    """Gaussian, of the scale that keeps a ReLU network's activations at theirs."""
    return nn.Parameter(torch.randn(*shape) * math.sqrt(2 / shape[1]))


def sparse(n: int, features: int, low: float, rate: float) -> Tensor:
    """Features uniform on [low, 1] with probability `rate`, else 0."""
    return (low + (1 - low) * torch.rand(n, features)) * (torch.rand(n, features) < rate)


def gaussian_mlp(name: str, *widths: int, **settings: Any) -> Problem:
    """An MLP on Gaussian inputs."""
    return Problem(name, partial(MLP, *widths), partial(gaussian, features=widths[0]), settings)


def gaussian(n: int, features: int) -> Tensor:
    return torch.randn(n, features)


def residual_mlp(layers: int, neurons: int, **settings: Any) -> Problem:
    """A residual MLP of the paper: 100 features in 1000 dimensions, 1.28 components an input."""
    return Problem(
        f"residual MLP, {layers} layer" + "s" * (layers > 1),
        partial(ResidualMLP, 100, 1000, neurons, layers),
        partial(sparse, features=100, low=-1.0, rate=0.01),
        {"batch_size": 256, "active": 1.28, "schatten_p": 0.9, **settings},
    )


def tms(features: int, hidden: int, **settings: Any) -> Problem:
    """A toy model of superposition."""
    return Problem(
        f"TMS {features}-{hidden}",
        partial(TMS, features, hidden),
        partial(sparse, features=features, low=0.0, rate=0.05),
        {"batch_size": 2048, **settings},
    )


PAPER = (
    tms(5, 2, components=5, rank=2, active=0.211, schatten_p=1.0),
    tms(40, 10, components=40, rank=10, active=1.0, schatten_p=0.9),
    residual_mlp(1, 50, components=130, rank=50),
    residual_mlp(2, 25, components=200, rank=25),
)
