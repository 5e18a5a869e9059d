"""Hand-coded gated functions: trigonometric functions of one number, each behind a control bit.

Braun et al. 2025 (arXiv 2501.14926, hand-coded gated function networks) and its published
configurations: 4 functions of 10 neurons each on [0, 5]; y is the sum of those whose bit is 1. The
residual stream is [x, 4 bits, y]; every neuron reads x and its function's bit and writes y. In one
block all neurons are in it; in two, each block has a random half of them.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from toys.planted import draw
from toys.residual import Residual, blocks
from toys.toy import Toy

FUNCTIONS, NEURONS = 4, 10
END = 5.0
SPACING = END / (NEURONS - 1)
SUPPRESSION = 10.0
ACTIVE = 0.05


@dataclass(frozen=True)
class Trigonometric:
    """x -> a sin(b x + c) + d cos(e x + f) + g."""

    a: float
    b: float
    c: float
    d: float
    e: float
    f: float
    g: float

    def __call__(self, x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """The function's values."""
        sine = self.a * torch.sin(self.b * x + self.c)
        cosine = self.d * torch.cos(self.e * x + self.f)
        return sine + cosine + self.g


def functions(seed: int) -> list[Trigonometric]:
    """Four functions: a, d and g uniform on [-1, 1], b and e on [0.1, 1], c and f on [-pi, pi]."""
    generator = torch.Generator().manual_seed(seed)
    low = torch.tensor([-1, 0.1, -math.pi, -1, 0.1, -math.pi, -1])
    high = torch.tensor([1, 1, math.pi, 1, 1, math.pi, 1])
    drawn = low + (high - low) * torch.rand(FUNCTIONS, 7, generator=generator)
    return [Trigonometric(*row) for row in drawn.tolist()]


def sample(n: int, generator: torch.Generator) -> Float[Tensor, "{n} 5"]:
    """x uniform on [0, 5], then four bits, each 1 with probability 0.05."""
    x = END * torch.rand(n, 1, generator=generator)
    bits = torch.rand(n, FUNCTIONS, generator=generator) < ACTIVE
    return torch.cat([x, bits], 1)


def active(x: Float[Tensor, "n 5"]) -> Bool[Tensor, "n 4"]:
    """Mechanism i is exercised where bit i is 1."""
    return x[:, 1:] != 0


def architecture(layers: int) -> Residual:
    """The network before its weights are set, with as many blocks as `layers`."""
    stream = torch.eye(FUNCTIONS + 2)
    neurons = [FUNCTIONS * NEURONS // layers] * layers
    return Residual(stream[:-1], stream[-1:], neurons, bias=True)


def turns() -> Float64[Tensor, "10"]:
    """Where each of a function's neurons begins to rise."""
    return SPACING * (torch.arange(NEURONS, dtype=torch.float64) - 1)


def slopes(function: Trigonometric) -> Float64[Tensor, "10"]:
    """What each neuron's output is multiplied by, so that their sum meets the function.

    With ReLU(x - turns()) the sum is linear between the ten points 0, 5/9, ... 5 and equals the
    function at each.
    """
    values = function(torch.linspace(0, END, NEURONS, dtype=torch.float64))
    slope = values.diff(prepend=torch.zeros(1, dtype=torch.float64)) / SPACING
    return slope.diff(prepend=torch.zeros(1, dtype=torch.float64))


def mechanisms(model: Residual, owners: list[Int64[Tensor, " neurons"]]) -> list[dict[str, Tensor]]:
    """One per function: its neurons' weights from x and its bit, and to y. They sum to the weights.

    Args:
        model: the network.
        owners: of each block, the function that each neuron belongs to.
    """
    return [
        {
            f"blocks.{index}.{name}": part
            for index, (block, owner) in enumerate(zip(blocks(model), owners, strict=True))
            for name, part in (
                ("W_in", block.W_in * (owner == i)[:, None]),
                ("W_out", block.W_out * (owner == i)),
            )
        }
        for i in range(FUNCTIONS)
    ]


def build(name: str, layers: int, seed: int, planted: bool = False) -> Toy:
    """The toy of that name; the planted mechanism is function seed % 4.

    A planted anomaly is a bit that is never 1 in the reference.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(FUNCTIONS * NEURONS, generator=generator)
    model = _hand_coded(functions(seed), architecture(layers), order)
    absent = seed % FUNCTIONS if planted else None
    reference, inputs = draw(sample, active, absent, generator)
    return Toy(
        name=name,
        seed=seed,
        model=model,
        reference=reference,
        inputs=inputs,
        mechanisms=mechanisms(model, list((order // NEURONS).chunk(layers))),
        planted=absent,
    )


def _hand_coded(
    functions: list[Trigonometric], model: Residual, order: Int64[Tensor, " neurons"]
) -> Residual:
    """Sets neuron k of the model, block by block, to neuron order[k] of the functions.

    A neuron computes ReLU(x - turn - S (1 - bit)); S = 10 silences it for every x in [0, 5] where
    the bit is 0.
    """
    turn = turns().repeat(FUNCTIONS)
    slope = torch.cat([slopes(function) for function in functions])
    bits = SUPPRESSION * torch.eye(FUNCTIONS + 2)[1:-1]
    x, y = torch.eye(FUNCTIONS + 2)[[0, -1]]
    weights = {
        f"blocks.{index}.{name}": value.float()
        for index, neurons in enumerate(order.chunk(len(model.blocks)))
        for name, value in (
            ("W_in", x + bits[neurons // NEURONS]),
            ("b", -turn[neurons] - SUPPRESSION),
            ("W_out", torch.outer(y, slope[neurons])),
        )
    }
    model.load_state_dict(weights, strict=False)
    return model.eval().requires_grad_(False)
