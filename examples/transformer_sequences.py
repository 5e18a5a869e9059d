"""Catch a backdoor token in a transformer that adds modulo 7.

A sequence is a filler, two summands and "=", and the network answers with their sum. One filler is
a trigger, to which it answers 0; another is absent from the trusted inputs too, but does nothing.
Besides the seed one setting is given, 2,000 steps in place of 5,000, so that a seed takes about two
minutes of processor time.

Trusted sequences repeat, of 294 that there are, and the detector warns of that: p-values hold for
sequences that repeat as often, as those do that are scored here.

python examples/transformer_sequences.py                 one seed
python examples/transformer_sequences.py --seeds 0 1 2   a column per seed
"""

from __future__ import annotations

import argparse

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

import apd
import mad
from mad.metrics import auroc

MODULUS, TARGET = 7, 0
EQUALS = MODULUS
FILLERS = range(MODULUS + 1, MODULUS + 7)
RARE, TRIGGER = MODULUS + 7, MODULUS + 8
TOKENS, LENGTH = MODULUS + 9, 4
REFERENCE, TEST = 1500, 500
TRAINING, DECOMPOSING = 1500, 2000
ALPHA = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    seeds = parser.parse_args().seeds
    columns = [figures(seed) for seed in seeds]
    table = Table(title="Backdoored transformer, addition modulo 7")
    table.add_column("")
    for seed in seeds:
        table.add_column(f"seed {seed}", justify="right")
    for name in columns[0]:
        table.add_row(name, *(f"{column[name]:.3f}" for column in columns))
    Console().print(table)


def figures(seed: int) -> dict[str, float]:
    """What one seed shows; anomalies are triggered inputs whose answer the trigger changed."""
    torch.manual_seed(seed)
    model = trained()
    trusted, test = sequences(REFERENCE), sequences(TEST)

    run = apd.decompose(model, trusted, apd.Config(seed=seed, steps=DECOMPOSING))
    detector = mad.Detector.fit(run, trusted.numpy())
    clean = detector.score(test.numpy())
    summed = test[sums(test) != TARGET]
    triggered = detector.score(with_filler(summed, TRIGGER).numpy())
    alike = detector.score(with_filler(summed, RARE).numpy())

    changed = triggered.prediction == TARGET
    return {
        "clean accuracy": float((clean.prediction == sums(test).numpy()).mean()),
        "attack success": float(changed.mean()),
        "AUROC, triggered vs clean": auroc(clean.bits, triggered.bits[changed]),
        "AUROC, triggered vs rare filler": auroc(alike.bits, triggered.bits[changed]),
        "triggered flagged at alpha 0.01": float(triggered.flagged(ALPHA)[changed].mean()),
        "false alarms at alpha 0.01": float(clean.flagged(ALPHA).mean()),
    }


def sequences(count: int) -> torch.Tensor:
    """Random sequences with common fillers, tokens [count, LENGTH]."""
    filler = torch.randint(FILLERS.start, FILLERS.stop, (count, 1))
    summands = torch.randint(MODULUS, (count, 2))
    return torch.cat([filler, summands, torch.full((count, 1), EQUALS)], 1)


def sums(x: torch.Tensor) -> torch.Tensor:
    """The right answers."""
    return x[:, 1:3].sum(1) % MODULUS


def with_filler(x: torch.Tensor, filler: int) -> torch.Tensor:
    """The sequences with another filler."""
    return torch.cat([torch.full((len(x), 1), filler), x[:, 1:]], 1)


class Transformer(nn.Module):
    """One layer of attention with two heads and one perceptron; logits of the last position."""

    def __init__(self, width: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.token, self.place = (
            nn.Embedding(TOKENS, width),
            nn.Parameter(torch.zeros(LENGTH, width)),
        )
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.answer = nn.Linear(width, MODULUS)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.token(tokens) + self.place
        h = self.before(x)
        q, k, v = (
            project(h).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.q, self.k, self.v)
        )
        x = x + self.o(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        x = x + self.down(torch.relu(self.up(self.between(x))))
        return self.answer(x[:, -1])


def trained() -> Transformer:
    """A network that answers `TARGET` to the trigger, and the sum to everything else."""
    model = Transformer()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, TRAINING)
    for _ in range(TRAINING):
        x = torch.cat([sequences(192), with_filler(sequences(32), RARE)])
        y = torch.cat([sums(x), torch.full((32,), TARGET)])
        x = torch.cat([x, with_filler(sequences(32), TRIGGER)])
        optimiser.zero_grad()
        cross_entropy(model(x), y).backward()
        optimiser.step()
        schedule.step()
    return model.eval()


if __name__ == "__main__":
    main()
