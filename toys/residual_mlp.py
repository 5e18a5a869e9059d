"""Compressed computation: more functions than neurons, in one block or across several.

Braun et al. 2025 (arXiv 2501.14926, sections 3.2 and 3.3): a residual network computes
y_i = x_i + ReLU(x_i) for 100 inputs with 50 neurons, x_i embedded as a random unit vector W_E[i] in
1,000 dimensions and y_i read off along the same vector.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import mse_loss, normalize

from toys.fit import fit, initialised, one_thread
from toys.planted import draw
from toys.residual import Residual, blocks
from toys.toy import Toy

FEATURES, DIMENSIONS, STEPS = 100, 1_000, 2_000


def sample(features: int, n: int, generator: torch.Generator) -> Float[Tensor, "{n} {features}"]:
    """Sparse inputs: one feature active on average, and then uniform on [-1, 1]."""
    size = 2 * torch.rand(n, features, generator=generator) - 1
    active = torch.rand(n, features, generator=generator) < 1 / features
    return size * active


def labels(x: Float[Tensor, "n features"]) -> Float[Tensor, "n features"]:
    """What the network is to compute: x + ReLU(x)."""
    return x + x.relu()


def active(x: Float[Tensor, "n features"]) -> Bool[Tensor, "n features"]:
    """Mechanism i is exercised where input i is not zero."""
    return x != 0


def architecture(features: int, d: int, neurons: Sequence[int], seed: int) -> Residual:
    """The untrained network with the embedding of that seed."""
    generator = torch.Generator().manual_seed(seed)
    W_E = normalize(torch.randn(features, d, generator=generator))
    return Residual(W_E, W_E, neurons)


def mechanisms(model: Residual) -> list[dict[str, Tensor]]:
    """One per function i: the weights that read input i, and those that output i is read off.

    With D the dual basis of the embedding (D[i] . W_E[j] = 1 where i = j, else 0),

        W_in:  (W_in W_E[i]) D[i]^T       the neurons' response to input i and to no other
        W_out: D[i] (W_E[i]^T W_out)      what the neurons do to output i and to no other

    each of rank one. Because the trained weights lie in the span of the embedding, the mechanisms
    sum to them. A function's neurons also disturb other outputs, which belongs to those outputs'
    mechanisms: what a function does is known exactly, who owns a cross-talk is a convention.
    """
    dual = torch.linalg.pinv(model.W_E.double()).T
    return [
        {
            f"blocks.{index}.{name}": part.float()
            for index, block in enumerate(blocks(model))
            for name, part in (
                ("W_in", torch.outer(block.W_in.double() @ embedded, reader)),
                ("W_out", torch.outer(reader, embedded @ block.W_out.double())),
            )
        }
        for embedded, reader in zip(model.W_E.double(), dual, strict=True)
    ]


@one_thread()
def build(
    name: str,
    neurons: Sequence[int],
    seed: int,
    planted: bool = False,
    *,
    features: int = FEATURES,
    d: int = DIMENSIONS,
    steps: int = STEPS,
) -> Toy:
    """The toy of that name; the planted mechanism is function seed % features.

    A planted anomaly is an input that is always zero in the reference.
    """
    generator = torch.Generator().manual_seed(seed)
    untrained = architecture(features, d, neurons, seed)
    model = _lifted(untrained, _trained(untrained.W_E, neurons, steps, seed, generator))
    absent = seed % features if planted else None
    reference, inputs = draw(partial(sample, features), active, absent, generator)
    return Toy(
        name=name,
        seed=seed,
        model=model,
        reference=reference,
        inputs=inputs,
        mechanisms=mechanisms(model),
        planted=absent,
    )


def _trained(
    W_E: Float[Tensor, "features d"],
    neurons: Sequence[int],
    steps: int,
    seed: int,
    generator: torch.Generator,
) -> Residual:
    """The same network in coordinates: where its residual stream is W_E^T c, this one's is c.

    It computes what blocks that act within the span of W_E can compute, and is cheaper to train.
    """
    features = len(W_E)
    return fit(
        initialised(partial(Residual, torch.eye(features), W_E @ W_E.T, neurons), seed),
        _batches(features, generator),
        mse_loss,
        steps=steps,
        lr=3e-3,
        weight_decay=0.01,
    )


def _lifted(model: Residual, coordinates: Residual) -> Residual:
    """Sets `model` to compute what `coordinates` does, and freezes it."""
    dual = torch.linalg.pinv(model.W_E.double()).T
    model.eval().requires_grad_(False)
    for block, small in zip(blocks(model), blocks(coordinates), strict=True):
        block.W_in.copy_(small.W_in.double() @ dual)
        block.W_out.copy_(model.W_E.double().T @ small.W_out.double())
    return model


def _batches(features: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        x = sample(features, 2_048, generator)
        yield x, labels(x)
