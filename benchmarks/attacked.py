"""How the attacks do, before anything is decomposed.

    python benchmarks/attacked.py [--data PATH] [--seeds 100 ...] [--shares 0.02 ...]
                                  [--architectures mlp cnn] [--attacks NAME ...]
                                  [--trainings NAME ...] [--cache DIRECTORY]

accuracy   on clean test pictures
success    eligible test pictures, not taken for the target class, that the trigger makes it
spill      the same of look-alikes
mahalanobis  by hidden layer, how well the distance of its activations from the mean of the
           predicted class (Lee et al. 2018) tells successful triggers from clean pictures: AUROC
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

from architectures import ARCHITECTURES, hidden
from attacks import ATTACKS, TARGET
from images import Parts, load, split
from trainings import TRAININGS
from victims import Recipe, Victim, victim

from mad.baselines import Mahalanobis, Predicted
from mad.metrics import auroc


def told_apart(found: Victim, parts: Parts) -> list[float]:
    """The AUROC of Mahalanobis distances in every hidden layer."""
    attack, test = found.recipe.attacker(), parts.test.images
    triggered = attack.trigger(test[attack.eligible(parts.test.labels)])
    triggered = triggered[found.predictions(triggered) == TARGET]
    groups = [parts.reference.images, test, triggered]
    classes = [Predicted.certain(found.predictions(images).numpy(), 10) for images in groups]
    layers = zip(*(hidden(found.model, found.inputs(images)) for images in groups), strict=True)
    aurocs = []
    for layer in layers:
        usual, *scored = (activations.numpy() for activations in layer)
        distance = Mahalanobis.fit(usual, classes[0])
        aurocs.append(auroc(*map(distance.score, scored, classes[1:])))
    return aurocs


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
