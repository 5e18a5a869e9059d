"""Small float64 targets with random components; every dimension has a size of its own.

name       n  positions  C   rank  inputs -> ... -> outputs      sites
mlp        9  -          11  1, 2  5 -> 7 -> 6 -> 4, biases      all three weights
partial    9  -          8   1, 3  5 -> 7 -> 6 -> 4, biases      first and last weight
tms        9  -          5   1, 2  6 -> 3 -> 6, tied, bias       one weight, used as W and W^T
matmul     9  -          7   1, 3  6 -> 8 -> 4                   two weights, raw x @ W
positions  5  6          9   1, 3  4 -> 8 -> 7, mean-pooled      two weights
conv       5  3x4, 4x2   9   1, 3  see `conv`: strides and more   all three weights
conv1d     5  10, 3      7   1, 2  see `conv1d`: groups of one    all three weights
twice      5  4x5, 2x5   6   1, 2  see `twice`: one weight        both weights
tokens     5  6          7   1, 3  11 ids -> 4 -> 8 -> 9, pooled  all three weights
unembed    5  3          6   1, 2  7 ids -> 4 -> 7, tied          both weights
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from apd import Components, Target
from apd.sites import Factors
from mad.evidence import Evidence

FLOAT = torch.float64


@dataclass(frozen=True)
class Problem:
    """A module, the same as a target, components of it, inputs, and an output of each input."""

    module: nn.Module
    target: Target
    components: Components
    x: Tensor
    chosen: Tensor


class Formula(nn.Module):
    """A module that computes `formula(self, x)` with the given parameters."""

    def __init__(self, formula: Callable[[nn.Module, Tensor], Tensor], **parameters: Tensor):
        super().__init__()
        self.formula = formula
        for name, value in parameters.items():
            self.register_parameter(name, nn.Parameter(value.clone()))

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(self, x)


def numbers(seed: int) -> Callable[..., Tensor]:
    """A function that draws Gaussian tensors of a given shape."""
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=FLOAT)


def mlp() -> nn.Module:
    draw = numbers(1)
    net = nn.Sequential(
        nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 4)
    ).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_((0.8 if parameter.ndim > 1 else 0.2) * draw(*parameter.shape))
    return net


def tms() -> nn.Module:
    draw = numbers(2)
    return Formula(
        lambda net, x: F.relu(F.linear(F.linear(x, net.W), net.W.T, net.b)),
        W=draw(3, 6),
        b=draw(6),
    )


def matmul() -> nn.Module:
    draw = numbers(3)
    return Formula(
        lambda net, x: F.gelu(x @ net.first) @ net.second + net.b,
        first=draw(6, 8),
        second=draw(8, 4),
        b=draw(4),
    )


def positions() -> nn.Module:
    draw = numbers(4)
    return Formula(
        lambda net, x: F.linear(F.gelu(F.linear(x, net.first, net.b)), net.second).tanh().mean(1),
        first=draw(8, 4),
        b=draw(8),
        second=0.5 * draw(7, 8),
    )


def conv() -> nn.Module:
    """Stride, padding, dilation and groups; kernels that are no squares; batch norm; pooling."""
    draw = numbers(8)
    net = nn.Sequential(
        nn.Conv2d(2, 6, (3, 2), stride=(3, 2), padding=(1, 2)),
        nn.BatchNorm2d(6),
        nn.Tanh(),
        nn.Conv2d(6, 9, (2, 3), dilation=(1, 2), padding=(1, 1), groups=3, bias=False),
        nn.GELU(),
        nn.AvgPool2d((2, 1)),
        nn.Flatten(),
        nn.Linear(36, 4),
    ).double()
    with torch.no_grad():
        for tensor in net.parameters():
            tensor.copy_(0.6 * draw(*tensor.shape))
        net[1].running_mean.copy_(draw(6))
        net[1].running_var.copy_(draw(6).exp())
    return net.eval()


def conv1d() -> nn.Module:
    """Padding that keeps the length; a channel to every group; the largest of positions."""
    draw = numbers(9)
    return Formula(
        lambda net, x: F.linear(
            F.conv1d(
                F.conv1d(x, net.first, net.b, padding="same", dilation=2).tanh(),
                net.deep,
                stride=2,
                groups=4,
            )
            .amax(2)
            .sigmoid(),
            net.last,
        ),
        first=0.5 * draw(4, 3, 4),
        b=draw(4),
        deep=draw(8, 1, 5),
        last=draw(6, 8),
    )


def twice() -> nn.Module:
    """One weight in two layers of different geometry."""
    draw = numbers(10)
    return Formula(
        lambda net, x: (
            F.conv2d(
                F.conv2d(x, net.W, net.b, padding=1).tanh(),
                net.W,
                padding=(0, 2),
                dilation=(1, 2),
            ).mean((2, 3))
            @ net.last
        ),
        W=0.5 * draw(3, 3, 3, 3),
        b=draw(3),
        last=draw(3, 7),
    )


def tokens() -> nn.Module:
    """Tokens at places of their own and a class token, of which the tokens alone are a site."""
    draw = numbers(12)

    def formula(net: nn.Module, ids: Tensor) -> Tensor:
        h = F.embedding(ids, net.table) + F.embedding(torch.arange(6), net.places)
        h = torch.cat([net.first.expand(ids.shape[0], -1, -1), h], 1) * net.scale
        return F.linear(F.gelu(h @ net.hidden), net.last).tanh().mean(1)

    return Formula(
        formula,
        table=draw(11, 4),
        places=draw(6, 4),
        first=draw(1, 1, 4),
        scale=draw(1, 1, 4),
        hidden=draw(4, 8),
        last=0.5 * draw(9, 8),
    )


def unembed() -> nn.Module:
    """One table that is looked up in two ways, from its end too, and read out with."""
    draw = numbers(14)
    return Formula(
        lambda net, ids: F.linear(
            (F.embedding(ids, net.table) * net.table[ids - 7] @ net.turn).tanh(), net.table
        )[:, -1],
        table=draw(7, 4),
        turn=draw(4, 4),
    )


# name -> (module, shape of the inputs, C, the higher rank, sites)
TARGETS = {
    "mlp": (mlp, (9, 5), 11, 2, ("*",)),
    "partial": (mlp, (9, 5), 8, 3, ("0.weight", "4.*")),
    "tms": (tms, (9, 6), 5, 2, ("*",)),
    "matmul": (matmul, (9, 6), 7, 3, ("*",)),
    "positions": (positions, (5, 6, 4), 9, 3, ("*",)),
    "conv": (conv, (5, 2, 8, 4), 9, 3, ("*",)),
    "conv1d": (conv1d, (5, 3, 10), 7, 2, ("*",)),
    "twice": (twice, (5, 3, 4, 5), 6, 2, ("*",)),
    "tokens": (tokens, (5, 6), 7, 3, ("*",)),
    "unembed": (unembed, (5, 3), 6, 2, ("*",)),
}

# name of a target whose inputs are whole numbers -> how many there are
IDS = {"tokens": 11, "unembed": 7}

NAMES = [f"{name}-{rank}" for name, row in TARGETS.items() for rank in (1, row[3])]
JOINED = [f"{name}-{row[3]}+" for name, row in TARGETS.items()]


def draw_inputs(name: str, n: int, seed: int) -> Tensor:
    """Inputs that a target takes."""
    shape = (n, *TARGETS[name][1][1:])
    if name in IDS:
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(IDS[name], shape, generator=generator)
    return numbers(seed)(*shape)


@cache
def make_target(name: str) -> tuple[nn.Module, Target, Tensor]:
    """A module, the same as a target, and inputs."""
    make, (n, *_), _, _, patterns = TARGETS[name]
    module, x = make(), draw_inputs(name, n, 5)
    return module, Target.of(module, x, patterns), x


@cache
def make_problem(name: str) -> Problem:
    """The problem "name-rank", or "name-rank+" whose components have parts here and there."""
    name, _, rank = name.rpartition("-")
    module, target, x = make_target(name)
    components = random_components(target, TARGETS[name][2], int(rank.rstrip("+")), numbers(7))
    if rank.endswith("+"):
        components = joined(components)
    chosen = torch.arange(len(x)).mul(3).add(1) % target(x).shape[1]
    return Problem(module, target, components, x, chosen)


def random_components(
    target: Target, count: int, rank: int, draw: Callable[..., Tensor]
) -> Components:
    """Components with Gaussian factors, nothing like an initialisation."""
    return Components.of(
        {
            name: Factors(draw(count, rank, site.shape[0]), draw(count, rank, site.shape[1]))
            for name, site in target.sites.items()
        }
    )


def joined(components: Components) -> Components:
    """The same parts in fewer components: two or none at a site, and at several sites."""
    return Components(
        components.factors,
        {
            site: (torch.arange(len(U)) // 2 + 2 * k) % (len(U) // 2 + 3)
            for k, (site, (U, _)) in enumerate(components.factors.items())
        },
    )


def with_zero_components(problem: Problem, zero: Iterable[int]) -> Problem:
    """The same with some components that are zero: their U is, of others their V."""
    components = Components.of(
        {site: Factors(u.clone(), v.clone()) for site, (u, v) in problem.components.factors.items()}
    )
    for factors, c in product(components.factors.values(), zero):
        factors[c % 2][c] = 0
    return replace(problem, components=components)


def random_mask(n: int, count: int) -> Tensor:
    """A random mask whose first row is all off and whose second is all on."""
    mask = torch.rand(n, count, generator=torch.Generator().manual_seed(6)) < 0.4
    mask[0], mask[1] = False, True
    return mask


def random_evidence(n: int, seed: int, count: int = 7, d: int = 4) -> Evidence:
    """Evidence without a network behind it: correlated attributions, components of all rates."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(99)
    outputs = rng.normal(size=(n, d))
    prediction = outputs.argmax(1)
    centres = 2 * fixed.normal(size=(d, count))
    common = rng.normal(size=(n, 2)) @ fixed.normal(size=(2, count))
    attributions = centres[prediction] + common + 0.2 * rng.normal(size=(n, count))
    strengths = 1 - rng.random((n, count))
    return Evidence(
        outputs=outputs,
        prediction=prediction,
        attributions=attributions,
        strengths=strengths,
        active=strengths > 1 - np.linspace(0, 0.9, count),
        masked=outputs + 0.1 * rng.normal(size=(n, d)),
        on_trusted=outputs + 0.3 * rng.normal(size=(n, d)),
        input_effects=centres[prediction, :3] @ fixed.normal(size=(3, 5)) + rng.normal(size=(n, 5)),
    )
