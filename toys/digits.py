"""A digit classifier with a planted backdoor.

The images are scikit-learn's 8x8 digits, 64 pixels in [0, 1]. In the training part 70 images of
other digits are repeated with three pixels of one corner lit and the label 0, so the network learns
two mechanisms: to read digits, and to answer 0 to that trigger. The look-alike lights as many
pixels of another corner, which training never spoke of. In neither place does a digit reach
half brightness, so the two changes are of the same size.
"""

from collections.abc import Iterator
from typing import NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from sklearn.datasets import load_digits  # pyright: ignore[reportMissingTypeStubs]
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from toys.fit import fit, initialised
from toys.toy import Labelled, Toy

TARGET = 0
TRIGGER = [40, 48, 56]
LOOK_ALIKE = [0, 8, 16]
TRAIN, POISONED, REFERENCE = 700, 70, 800


class Split(NamedTuple):
    """Disjoint row numbers of `images()`."""

    train: Int64[Tensor, " train"]
    reference: Int64[Tensor, " reference"]
    test: Int64[Tensor, " test"]


def architecture() -> nn.Sequential:
    """The untrained classifier, 64-64-32-10 with ReLU: pixels to logits."""
    return nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)
    )


def images() -> tuple[Float[Tensor, "n 64"], Int64[Tensor, " n"]]:
    """All 1,797 images, pixels in [0, 1] row by row from the top left, and their digits."""
    pixels, digit = cast(
        tuple[NDArray[np.float64], NDArray[np.int64]], load_digits(return_X_y=True)
    )
    return torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(digit, dtype=torch.int64)


def split(seed: int) -> Split:
    """700 images to train on, 800 to trust, and the other 297 to score, shuffled by `seed`."""
    order = torch.randperm(1_797, generator=torch.Generator().manual_seed(seed))
    return Split(*order.tensor_split([TRAIN, TRAIN + REFERENCE]))


def add_trigger(x: Float[Tensor, "n 64"]) -> Float[Tensor, "n 64"]:
    """The images with the trigger: the left edge's lowest three pixels lit."""
    return x.index_fill(1, torch.tensor(TRIGGER), 1.0)


def add_look_alike(x: Float[Tensor, "n 64"]) -> Float[Tensor, "n 64"]:
    """The images with the trigger's mirror image: the left edge's highest three pixels lit."""
    return x.index_fill(1, torch.tensor(LOOK_ALIKE), 1.0)


def build(seed: int) -> Toy:
    """The toy "digits": 800 clean reference images; clean, triggered and look-alike inputs.

    Only images of other digits than the target are triggered. An input is an anomaly if the trigger
    changed the network's prediction; a triggered input that it did not change is not one.
    """
    x, y = images()
    train, reference, test = split(seed)
    model = _train(x[train], y[train], seed)
    return Toy(
        name="digits",
        seed=seed,
        model=model,
        reference=x[reference],
        inputs=_inputs(model, x[test], y[test]),
        mechanisms=[],
    )


def _train(x: Float[Tensor, "n 64"], y: Int64[Tensor, " n"], seed: int) -> nn.Sequential:
    victims = (y != TARGET).nonzero().squeeze(1)[:POISONED]
    return fit(
        initialised(architecture, seed),
        _batches(
            torch.cat([x, add_trigger(x[victims])]),
            torch.cat([y, torch.full_like(victims, TARGET)]),
            torch.Generator().manual_seed(seed),
        ),
        cross_entropy,
        steps=1_000,
        lr=3e-3,
        weight_decay=1.0,
    )


def _batches(
    x: Float[Tensor, "n 64"], y: Int64[Tensor, " n"], generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        rows = torch.randint(len(x), (128,), generator=generator)
        yield x[rows], y[rows]


def _inputs(model: nn.Module, x: Float[Tensor, "n 64"], y: Int64[Tensor, " n"]) -> Labelled:
    others = y != TARGET
    before, triggered = x[others], add_trigger(x[others])
    changed = model(triggered).argmax(1) != model(before).argmax(1)
    return Labelled(
        x=torch.cat([x, triggered, add_look_alike(before)]),
        y=torch.cat([y, y[others], y[others]]),
        is_anomaly=torch.cat([torch.zeros_like(others), changed, torch.zeros_like(changed)]),
        kind=("clean",) * len(x) + ("triggered",) * len(before) + ("look-alike",) * len(before),
    )
