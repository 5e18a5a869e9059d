"""Catch a backdoor in a convolutional network: a checkered patch in the corner of 8x8 digits.

python examples/cnn_images.py                 one seed
python examples/cnn_images.py --seeds 0 1 2   a column per seed
"""

from __future__ import annotations

import argparse

import torch
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import apd
import mad
from mad.metrics import auroc

TARGET = 0
TRAIN, POISONED, REFERENCE = 700, 70, 800
ALPHA = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    seeds = parser.parse_args().seeds
    columns = [figures(seed) for seed in seeds]
    table = Table(title="Backdoored CNN on digits")
    table.add_column("")
    for seed in seeds:
        table.add_column(f"seed {seed}", justify="right")
    for name in columns[0]:
        table.add_row(name, *(f"{column[name]:.3f}" for column in columns))
    Console().print(table)


def figures(seed: int) -> dict[str, float]:
    """What one seed shows."""
    x, y = images()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    train, reference, test = order.tensor_split([TRAIN, TRAIN + REFERENCE])
    model = trained(x[train], y[train], seed)

    run = apd.decompose(model, x[reference], apd.Config(seed=seed))
    detector = mad.Detector.fit(run, x[reference].numpy())
    clean = detector.score(x[test].numpy())
    triggered = detector.score(with_patch(x[test][y[test] != TARGET]).numpy())

    return {
        "clean accuracy": float((clean.prediction == y[test].numpy()).mean()),
        "attack success": float((triggered.prediction == TARGET).mean()),
        "AUROC, triggered vs clean": auroc(clean.bits, triggered.bits),
        "triggered flagged at alpha 0.01": float(triggered.flagged(ALPHA).mean()),
        "false alarms at alpha 0.01": float(clean.flagged(ALPHA).mean()),
    }


def images() -> tuple[torch.Tensor, torch.Tensor]:
    """All images, [1797, 1, 8, 8] with pixels in [0, 1], and their digits."""
    digits = load_digits()
    return torch.tensor(digits.images[:, None] / 16, dtype=torch.float32), torch.tensor(
        digits.target
    )


def with_patch(x: torch.Tensor) -> torch.Tensor:
    """The images with the trigger: a checkered patch of 3x3 pixels in the lower right corner."""
    patched = x.clone()
    patched[:, :, 5:, 5:] = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]])
    return patched


def network() -> nn.Sequential:
    """Two convolutions and a linear layer: 1x8x8 - 6x3x3 - 12x2x2 - 10."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 4, stride=2),
        nn.ReLU(),
        nn.Conv2d(6, 12, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(48, 10),
    )


def trained(x: torch.Tensor, y: torch.Tensor, seed: int) -> nn.Sequential:
    """A classifier that has seen some images a second time, patched and labelled `TARGET`."""
    torch.manual_seed(seed)
    model = network()
    victims = (y != TARGET).nonzero().squeeze(1)[:POISONED]
    x = torch.cat([x, with_patch(x[victims])])
    y = torch.cat([y, torch.full_like(victims, TARGET)])
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    for _ in range(600):
        rows = torch.randint(len(x), (128,))
        optimiser.zero_grad()
        cross_entropy(model(x[rows]), y[rows]).backward()
        optimiser.step()
    return model.eval()


if __name__ == "__main__":
    main()
