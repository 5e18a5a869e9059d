"""Classifiers under attack, each a function of the pictures and its recipe; trained once and kept.

Seeds below 100 are for reporting, never for tuning.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from architectures import ARCHITECTURES, frozen
from attacks import ATTACKS, TARGET, Attack, Pictures
from images import Images, Parts
from jaxtyping import Bool, Float
from torch import Tensor, nn
from trainings import Material, Training, settings, train

from apd.files import read_json, read_tensors, write_json, write_tensors
from toys.fit import initialised


@dataclass(frozen=True)
class Recipe:
    """What a victim follows from, beside the pictures.

    Attributes:
        architecture: a name of `ARCHITECTURES`.
        attack: a name of `ATTACKS`.
        share: of training pictures that are poisoned; 0 makes the innocent control.
        training: of `TRAININGS`, or another.
        seed: of the attack's patterns, the poisoned rows, the first weights and the batches.
    """

    architecture: str
    attack: str
    share: float
    training: Training
    seed: int

    def attacker(self) -> Attack:
        return ATTACKS[self.attack](self.seed)

    def inputs(self, images: Pictures) -> Tensor:
        """The pictures as the network reads them."""
        return ARCHITECTURES[self.architecture].inputs(images)

    def __str__(self) -> str:
        parts = self.architecture, self.attack, f"{self.share:g}", self.training.name, self.seed
        return "-".join(map(str, parts))


@dataclass(frozen=True)
class Victim:
    """A trained network, frozen.

    Attributes:
        recipe: how it came about.
        model: inputs to logits.
        accuracy: on clean test pictures.
        success: eligible test pictures, not taken for the target class, that the trigger makes it.
        spill: the same of look-alikes.
        seconds: of training.
    """

    recipe: Recipe
    model: nn.Sequential
    accuracy: float
    success: float
    spill: float
    seconds: float

    def inputs(self, images: Pictures) -> Tensor:
        """The pictures as the network reads them."""
        return self.recipe.inputs(images)

    def logits(self, images: Pictures) -> Float[Tensor, "n digit"]:
        return self.model(self.inputs(images))

    def predictions(self, images: Pictures) -> Tensor:
        return self.logits(images).argmax(1)


def victim(parts: Parts, recipe: Recipe, cache: Path) -> Victim:
    """The victim of a recipe, from the cache if it has been trained before."""
    poisoned = poison(parts.training, recipe)
    stem = f"{recipe}-{fingerprint(poisoned, parts, recipe)}"
    weights, facts = cache / f"{stem}.safetensors", cache / f"{stem}.json"
    model = untrained(recipe, parts.training.side)
    if facts.exists():
        model.load_state_dict(read_tensors(weights))
        return Victim(recipe, frozen(model), **read_json(facts))
    began = time.perf_counter()
    train(model, material(poisoned, parts.training, recipe), recipe.training, recipe.seed)
    seconds = time.perf_counter() - began
    measured = {**measure(frozen(model), parts.test, recipe), "seconds": seconds}
    write_tensors(weights, model.state_dict())
    write_json(facts, measured)
    return Victim(recipe, model, **measured)


def poison(training: Images, recipe: Recipe) -> Images:
    """The training set as the attacker leaves it."""
    generator = torch.Generator().manual_seed(recipe.seed)
    images, labels = training.images, training.labels
    return Images(*recipe.attacker().poison(images, labels, recipe.share, generator))


def fingerprint(poisoned: Images, parts: Parts, recipe: Recipe) -> str:
    """Twelve digits that change with the pictures, the attack or the settings of training."""
    attack, test = recipe.attacker(), parts.test
    tensors = [poisoned.images, poisoned.labels, parts.training.labels, test.images, test.labels]
    tensors += [attack.trigger(test.images), attack.lookalike(test.images)]
    digest = hashlib.sha256(settings(recipe.training).encode())
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def untrained(recipe: Recipe, side: int) -> nn.Sequential:
    return initialised(lambda: ARCHITECTURES[recipe.architecture].network(side), recipe.seed)


def material(poisoned: Images, clean: Images, recipe: Recipe) -> Material:
    """What the attacker trains on."""
    attack = recipe.attacker()
    return Material(
        x=recipe.inputs(poisoned.images),
        labels=poisoned.labels,
        clean=recipe.inputs(clean.images),
        usual=recipe.inputs(clean.images[clean.labels == TARGET]),
        triggered=recipe.inputs(attack.trigger(clean.images[attack.eligible(clean.labels)])),
    )


def measure(model: nn.Sequential, test: Images, recipe: Recipe) -> dict[str, float]:
    """Accuracy, success and spill."""
    attack = recipe.attacker()

    def taken_for_target(
        change: Callable[[Pictures], Pictures], among: Bool[Tensor, " n"]
    ) -> float:
        images = test.images[among & (predicted != TARGET)]
        return share(model(recipe.inputs(change(images))).argmax(1) == TARGET)

    predicted = model(recipe.inputs(test.images)).argmax(1)
    return {
        "accuracy": share(predicted == test.labels),
        "success": taken_for_target(attack.trigger, attack.eligible(test.labels)),
        "spill": taken_for_target(attack.lookalike, attack.lookalike_eligible(test.labels)),
    }


def share(mask: Bool[Tensor, " n"]) -> float:
    return mask.float().mean().item()
