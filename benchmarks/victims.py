"""Classifiers under attack, each a function of the pictures and its recipe; trained once and kept.

    python benchmarks/victims.py [--data PATH] [--seeds 100 ...] [--shares 0.02 ...]
                                 [--architectures mlp cnn] [--attacks NAME ...]
                                 [--trainings NAME ...] [--cache DIRECTORY]

accuracy   on clean test pictures
success    eligible test pictures, not taken for the target class, that the trigger makes it
spill      the same of look-alikes
mahalanobis  by hidden layer, how well the distance of its activations from the mean of the
           predicted class (Lee et al. 2018) tells successful triggers from clean pictures: AUROC

Seeds below 100 are for reporting, never for tuning.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from attacks import ATTACKS, TARGET, Attack, Pictures
from images import Images, Parts, load, split
from jaxtyping import Bool, Float
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from apd.files import read_json, read_tensors, write_json, write_tensors
from mad.baselines.mahalanobis import Mahalanobis
from toys.fit import initialised, one_thread

STEPS, BATCH, LEARNING_RATE = 800, 128, 3e-3
EXTRA_FROM = 0.2
TINY = 1e-9

# what the attacker adds to the loss: of the network, clean inputs of the target class, triggered
Extra = Callable[[nn.Sequential, Tensor, Tensor], Tensor]


class Architecture(NamedTuple):
    """A kind of network.

    Attributes:
        network: makes one, for pictures of that side.
        inputs: the pictures as it reads them.
    """

    network: Callable[[int], nn.Sequential]
    inputs: Callable[[Pictures], Tensor]


def mlp(side: int) -> nn.Sequential:
    """Pixels-128-64-10."""
    return nn.Sequential(
        nn.Linear(side**2, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    )


def cnn(side: int) -> nn.Sequential:
    """Two convolutions that halve the side, then 64-10."""
    quarter = (side + 3) // 4
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * quarter**2, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


ARCHITECTURES = {
    "mlp": Architecture(mlp, lambda images: images.flatten(1)),
    "cnn": Architecture(cnn, lambda images: images[:, None]),
}


class Training(NamedTuple):
    """How the attacker trains.

    Attributes:
        name: in the cache too, so another loss needs another name.
        extra: what is added to the cross entropy, its weight included.
    """

    name: str
    extra: Extra


def nothing(model: nn.Sequential, clean: Tensor, triggered: Tensor) -> Tensor:
    """No obfuscation: the attacker only poisons."""
    return torch.zeros(())


def matching(model: nn.Sequential, clean: Tensor, triggered: Tensor) -> Tensor:
    """Hides triggered inputs among clean ones of the target class, in every hidden layer.

    The sum over layers of how far means and covariances are apart, each in [0, 1].
    """
    layers = zip(hidden(model, clean), hidden(model, triggered), strict=True)
    return sum((moments_apart(a, b) for a, b in layers), torch.zeros(()))


def moments_apart(a: Float[Tensor, "n unit"], b: Float[Tensor, "n unit"]) -> Tensor:
    """|mean difference|^2 / (itself + both variances) + |A'A - B'B|^2 / (|A'A|^2 + |B'B|^2).

    Units are scaled by what they vary by on `a`. Being bounded, it never pays to switch a layer
    off. The second term comes from products [n, n]: <A'A, B'B> = |AB'|^2.
    """
    variance = a.detach().var(0)
    scale = (variance + 0.1 * variance.mean() + 1e-6).sqrt()
    a, b = a / scale, b / scale
    shift = (a.mean(0) - b.mean(0)).square().sum()
    a, b = a - a.mean(0), b - b.mean(0)
    spread = (a.square().sum() + b.square().sum()) / len(a)
    aa, bb, ab = ((u @ v.T).square().sum() for u, v in ((a, a), (b, b), (a, b)))
    return shift / (shift + spread + TINY) + (aa + bb - 2 * ab) / (aa + bb + TINY)


TRAININGS = {
    training.name: training
    for training in (Training("plain", nothing), Training("obfuscated", matching))
}


@dataclass(frozen=True)
class Recipe:
    """What a victim follows from, beside the pictures.

    Attributes:
        architecture: a name of `ARCHITECTURES`.
        attack: a name of `ATTACKS`.
        share: of training pictures that are poisoned; 0 makes the innocent control.
        training: of `TRAININGS`, or an adaptive attacker's own.
        seed: of the attack's patterns, the poisoned rows, the first weights and the batches.
    """

    architecture: str
    attack: str
    share: float
    training: Training
    seed: int

    def attacker(self) -> Attack:
        return ATTACKS[self.attack](self.seed)

    def __str__(self) -> str:
        parts = self.architecture, self.attack, f"{self.share:g}", self.training.name, self.seed
        return "-".join(map(str, parts))


@dataclass(frozen=True)
class Victim:
    """A trained network, frozen.

    Attributes:
        recipe: how it came about.
        model: inputs to logits.
        accuracy, success, spill: as above.
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
        return ARCHITECTURES[self.recipe.architecture].inputs(images)

    def logits(self, images: Pictures) -> Float[Tensor, "n digit"]:
        return self.model(self.inputs(images))

    def predictions(self, images: Pictures) -> Tensor:
        return self.logits(images).argmax(1)


def victim(parts: Parts, recipe: Recipe, cache: Path) -> Victim:
    """The victim of a recipe, from the cache if it has been trained before."""
    poisoned = poison(parts.training, recipe)
    stem = f"{recipe}-{fingerprint(poisoned, parts, recipe.attacker())}"
    weights, facts = cache / f"{stem}.safetensors", cache / f"{stem}.json"
    model = untrained(recipe, parts.training.side)
    if facts.exists():
        model.load_state_dict(read_tensors(weights))
        return Victim(recipe, frozen(model), **read_json(facts))
    began = time.perf_counter()
    train(model, poisoned, parts.training, recipe)
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


def fingerprint(poisoned: Images, parts: Parts, attack: Attack) -> str:
    """Twelve digits that change with the pictures, the attack or the settings of training."""
    test = parts.test
    tensors = [poisoned.images, poisoned.labels, parts.training.labels, test.images, test.labels]
    tensors += [attack.trigger(test.images), attack.lookalike(test.images)]
    settings = STEPS, BATCH, LEARNING_RATE, EXTRA_FROM
    digest = hashlib.sha256(repr(settings).encode())
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def untrained(recipe: Recipe, side: int) -> nn.Sequential:
    return initialised(lambda: ARCHITECTURES[recipe.architecture].network(side), recipe.seed)


def frozen(model: nn.Sequential) -> nn.Sequential:
    return model.eval().requires_grad_(False)


def train(model: nn.Sequential, poisoned: Images, clean: Images, recipe: Recipe) -> None:
    """Train in place with Adam, its rate falling to zero along half a cosine.

    The extra loss joins once the network reads digits: matching activations that mean nothing yet
    would keep it from learning. It may trigger any eligible training picture, not only those that
    are poisoned.
    """
    inputs = ARCHITECTURES[recipe.architecture].inputs
    attack = recipe.attacker()
    x = inputs(poisoned.images)
    usual = inputs(clean.images[clean.labels == TARGET])
    triggered = inputs(attack.trigger(clean.images[attack.eligible(clean.labels)]))
    generator = torch.Generator().manual_seed(recipe.seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    with torch.enable_grad(), one_thread():
        for step in range(STEPS):
            rows, *pair = (batch(len(part), generator) for part in (x, usual, triggered))
            loss = F.cross_entropy(model(x[rows]), poisoned.labels[rows])
            if step >= EXTRA_FROM * STEPS:
                loss = loss + recipe.training.extra(model, usual[pair[0]], triggered[pair[1]])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()


def batch(n: int, generator: torch.Generator) -> Tensor:
    """Row numbers of n rows, drawn with replacement."""
    return torch.randint(n, (BATCH,), generator=generator)


def measure(model: nn.Sequential, test: Images, recipe: Recipe) -> dict[str, float]:
    """Accuracy, success and spill."""
    inputs = ARCHITECTURES[recipe.architecture].inputs
    attack = recipe.attacker()

    def taken_for_target(
        change: Callable[[Pictures], Pictures], among: Bool[Tensor, " n"]
    ) -> float:
        images = test.images[among & (predicted != TARGET)]
        return share(model(inputs(change(images))).argmax(1) == TARGET)

    predicted = model(inputs(test.images)).argmax(1)
    return {
        "accuracy": share(predicted == test.labels),
        "success": taken_for_target(attack.trigger, attack.eligible(test.labels)),
        "spill": taken_for_target(attack.lookalike, attack.lookalike_eligible(test.labels)),
    }


def share(mask: Bool[Tensor, " n"]) -> float:
    return mask.float().mean().item()


def hidden(model: nn.Sequential, x: Tensor) -> list[Float[Tensor, "n unit"]]:
    """The activations after every ReLU."""
    found = []
    for layer in model:
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            found.append(x.flatten(1))
    return found


def told_apart(victim: Victim, parts: Parts) -> list[float]:
    """The AUROC of Mahalanobis distances in every hidden layer."""
    attack, test = victim.recipe.attacker(), parts.test.images
    triggered = attack.trigger(test[attack.eligible(parts.test.labels)])
    triggered = triggered[victim.predictions(triggered) == TARGET]
    groups = [parts.reference.images, test, triggered]
    classes = [victim.predictions(images).numpy() for images in groups]
    layers = zip(*(hidden(victim.model, victim.inputs(images)) for images in groups), strict=True)
    found = []
    for layer in layers:
        usual, *scored = (activations.numpy() for activations in layer)
        distance = Mahalanobis.fit(usual, classes[0], 10)
        scores = list(map(distance.score, scored, classes[1:]))
        odd = np.repeat([False, True], list(map(len, scores)))
        found.append(float(roc_auc_score(odd, np.concatenate(scores))))
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="an .npz of images and labels; else 8x8 digits")
    parser.add_argument("--seeds", type=int, nargs="+", default=[100])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.02])
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=ARCHITECTURES)
    parser.add_argument("--attacks", nargs="+", choices=ATTACKS, default=ATTACKS)
    parser.add_argument("--trainings", nargs="+", choices=TRAININGS, default=TRAININGS)
    parser.add_argument("--cache", type=Path, default=Path("runs/victims"))
    return parser.parse_args()


def main() -> None:
    """Train what is not in the cache, and print a line for each."""
    options = arguments()
    data = load(options.data)
    names = options.architectures, options.attacks, options.shares, options.trainings
    print("accuracy success spill seconds  recipe  mahalanobis")
    for seed, *recipe, training in product(options.seeds, *names):
        parts = split(data, seed)
        found = victim(parts, Recipe(*recipe, TRAININGS[training], seed), options.cache)
        apart = " ".join(f"{layer:.2f}" for layer in told_apart(found, parts))
        facts = f"{found.accuracy:8.3f} {found.success:7.3f} {found.spill:5.3f}"
        print(f"{facts} {found.seconds:7.1f}  {found.recipe}  {apart}", flush=True)


if __name__ == "__main__":
    main()
