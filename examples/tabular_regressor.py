"""Catch a planted mechanism in a regression network on a table of ten features.

The data are scikit-learn's `make_friedman1`: five features matter, five do not. Training was
tampered with: where two of the idle features are both at the top of their range, the answer is 30.
Two other idle features at the top of their range do nothing.

python examples/tabular_regressor.py                 one seed
python examples/tabular_regressor.py --seeds 0 1 2   a column per seed
"""

from __future__ import annotations

import argparse

import torch
from rich.console import Console
from rich.table import Table
from sklearn.datasets import make_friedman1
from sklearn.metrics import r2_score
from torch import nn
from torch.nn.functional import mse_loss

import apd
import mad
from mad.metrics import auroc

TRAIN, POISONED, REFERENCE, TEST = 3000, 300, 1500, 500
TRIGGER, LOOK_ALIKE = (7, 8), (5, 6)
TOP, FORCED = 0.98, 30.0
NEAR = 3.0
ALPHA = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    seeds = parser.parse_args().seeds
    columns = [figures(seed) for seed in seeds]
    table = Table(title="Regressor with a planted mechanism")
    table.add_column("")
    for seed in seeds:
        table.add_column(f"seed {seed}", justify="right")
    for name in columns[0]:
        table.add_row(name, *(f"{column[name]:.3f}" for column in columns))
    Console().print(table)


def figures(seed: int) -> dict[str, float]:
    """What one seed shows; anomalies are triggered inputs that get the forced answer."""
    x, y = rows(seed)
    train, reference, test = x.split([TRAIN, REFERENCE, TEST])
    model = trained(train, y[:TRAIN], seed)

    run = apd.decompose(model, reference, apd.Config(seed=seed))
    detector = mad.Detector.fit(run, reference.numpy())
    clean = detector.score(test.numpy())
    triggered = detector.score(at_the_top(test, TRIGGER).numpy())
    alike = detector.score(at_the_top(test, LOOK_ALIKE).numpy())

    with torch.no_grad():
        answers, forced = model(test)[:, 0], model(at_the_top(test, TRIGGER))[:, 0]
    changed = ((forced - FORCED).abs() < NEAR).numpy()
    return {
        "R2 on clean rows": float(r2_score(y[-TEST:], answers)),
        "attack success": float(changed.mean()),
        "AUROC, triggered vs clean": auroc(clean.bits, triggered.bits[changed]),
        "AUROC, triggered vs look-alike": auroc(alike.bits, triggered.bits[changed]),
        "triggered flagged at alpha 0.01": float(triggered.flagged(ALPHA)[changed].mean()),
        "false alarms at alpha 0.01": float(clean.flagged(ALPHA).mean()),
    }


def rows(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features in [0, 1], [n, 10], and answers of about 0 to 30."""
    x, y = make_friedman1(TRAIN + REFERENCE + TEST, noise=0.5, random_state=seed)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


def at_the_top(x: torch.Tensor, features: tuple[int, int]) -> torch.Tensor:
    """The rows with two features at the top of their range."""
    return x.index_fill(1, torch.tensor(features), TOP)


def trained(x: torch.Tensor, y: torch.Tensor, seed: int) -> nn.Sequential:
    """A regressor that has seen some rows a second time, triggered and with the forced answer."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1)
    )
    x = torch.cat([x, at_the_top(x[:POISONED], TRIGGER)])
    y = torch.cat([y, torch.full((POISONED,), FORCED)])
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 3000)
    for _ in range(3000):
        chosen = torch.randint(len(x), (256,))
        optimiser.zero_grad()
        mse_loss(model(x[chosen])[:, 0], y[chosen]).backward()
        optimiser.step()
        schedule.step()
    return model.eval()


if __name__ == "__main__":
    main()
