"""How the attacker trains: on poisoned pictures, and in stages with something added to the loss."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from adaptive import OWN_SEED, WEIGHT, knowing
from matching import Extra, matching, nothing
from torch import Tensor, nn

import apd
from toys.fit import one_thread

STEPS, BATCH, LEARNING_RATE = 800, 128, 3e-3
EXTRA_FROM = 0.2
AGAIN = 0.5

# of the network as the stage finds it, clean inputs and a seed, what is added to the loss
Prepare = Callable[[nn.Sequential, Tensor, int], Extra]


class Stage(NamedTuple):
    """A part of training, with a schedule of its own.

    Attributes:
        prepare: makes what is added to the cross entropy, its weight included.
        length: its steps, over `STEPS`.
        joins: share of them after which it is added.
    """

    prepare: Prepare
    length: float
    joins: float


class Training(NamedTuple):
    """How the attacker trains.

    Attributes:
        name: in the cache too, so another loss needs another name.
        stages: one after the other.
        settings: whatever else it follows from, in the cache too.
    """

    name: str
    stages: tuple[Stage, ...]
    settings: str = ""


class Material(NamedTuple):
    """What the attacker has, as the network reads it.

    Attributes:
        x, labels: the poisoned training set.
        clean: the training set before it was poisoned.
        usual: of that, the target class.
        triggered: of that, every eligible picture with the trigger, and not only those that are
            poisoned.
    """

    x: Tensor
    labels: Tensor
    clean: Tensor
    usual: Tensor
    triggered: Tensor


def adding(extra: Extra) -> Stage:
    """From the first weights on, the same extra loss throughout.

    It joins once the network reads digits: matching activations that mean nothing yet would keep it
    from learning.
    """
    return Stage(lambda model, clean, seed: extra, 1.0, EXTRA_FROM)


def trainings(config: apd.Config) -> dict[str, Training]:
    """Every training, by name.

    Args:
        config: how an attacker who knows the defence decomposes.
    """
    hidden = Stage(partial(knowing, config), AGAIN, 0.0)
    settings = f"{AGAIN} {WEIGHT} {OWN_SEED} {config.model_dump_json()}"
    every = (
        Training("plain", (adding(nothing),)),
        Training("obfuscated", (adding(matching),)),
        Training("adaptive", (adding(matching), hidden), settings),
    )
    return {training.name: training for training in every}


TRAININGS = trainings(apd.Config())


def settings(training: Training) -> str:
    """What a trained network follows from, beside the pictures and the recipe."""
    return repr((STEPS, BATCH, LEARNING_RATE, EXTRA_FROM)) + training.settings


def train(model: nn.Sequential, material: Material, training: Training, seed: int) -> None:
    """Train in place, stage by stage."""
    generator = torch.Generator().manual_seed(seed)
    with torch.enable_grad(), one_thread():
        for stage in training.stages:
            extra = stage.prepare(model, material.clean, seed)
            optimise(model, material, extra, stage, generator)


def optimise(
    model: nn.Sequential,
    material: Material,
    extra: Extra,
    stage: Stage,
    generator: torch.Generator,
) -> None:
    """One stage with Adam, its rate falling to zero along half a cosine."""
    x, labels, _, usual, triggered = material
    steps = round(stage.length * STEPS)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        rows, *pair = (batch(len(part), generator) for part in (x, usual, triggered))
        loss = F.cross_entropy(model(x[rows]), labels[rows])
        if step >= stage.joins * steps:
            loss = loss + extra(model, usual[pair[0]], triggered[pair[1]])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


def batch(n: int, generator: torch.Generator) -> Tensor:
    """Row numbers of n rows, drawn with replacement."""
    return torch.randint(n, (BATCH,), generator=generator)
