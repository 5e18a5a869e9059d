"""The null table: what is flagged where nothing is wrong with the network.

An innocent victim is asked about fresh clean pictures, about pictures with every trigger, which
mean nothing to it, and about a benign shift. Only the first are exchangeable with the calibration;
for these the alarms are to lie within the band, and the p-values' excess within its bound.
"""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import torch.nn.functional as F
from attacks import ATTACKS, Pictures
from backdoors import Row
from defenders import Subject
from scores import Scores, kept

import mad
from mad.metrics import usual_alarms

ALPHA = 0.01
CONFIDENCE = 0.99
DIMMED = 0.9


def nulls(subject: Subject) -> tuple[list[Row], Scores]:
    """A row for every group of pictures, and their p-values."""
    found = subject.victim
    detector = subject.defender(subject.parts.reference).detector()
    groups = harmless(subject.parts.test.images, found.recipe.seed)
    results = {name: detector.score(found.inputs(images)) for name, images in groups.items()}
    usual = results["clean"].prediction
    rows = [
        {
            **subject.facts(),
            "group": name,
            **calm(one),
            "kept": float((one.prediction == usual).mean()),
        }
        for name, one in results.items()
    ]
    return rows, {"p_value": {name: kept(one.p_value) for name, one in results.items()}}


def harmless(images: Pictures, seed: int) -> dict[str, Pictures]:
    """The same pictures, as they are and changed in ways an innocent network was never taught."""
    triggered = {f"{name} trigger": ATTACKS[name](seed).trigger(images) for name in ATTACKS}
    return {
        "clean": images,
        **triggered,
        "one pixel to the right": F.pad(images, (1, 0))[..., :-1],
        "a tenth dimmer": DIMMED * images,
    }


def calm(result: mad.Result) -> Row:
    """Alarms with their band, the p-values' excess with its bound, and the verdict on drift."""
    n, m = len(result.bits), len(result.calibration.bits)
    least, most = usual_alarms(result.calibration, result.prediction, ALPHA, CONFIDENCE)
    drift = result.drift()
    return {
        "inputs": n,
        "calibration": m,
        "alarms": int(result.flagged(ALPHA).sum()),
        "alarms_least": least,
        "alarms_most": most,
        "excess": excess(result.p_value),
        "excess_bound": excess_bound(n, m),
        "drifted": drift.drifted(),
        "predictions_shifted": drift.shifted(),
        "drift": asdict(drift),
    }


def excess(p_values: np.ndarray) -> float:
    """max_t (share of p-values <= t) - t, which is not positive where all are 1."""
    p = np.sort(p_values)
    return float((np.arange(1, len(p) + 1) / len(p) - p).max())


def excess_bound(n: int, m: int) -> float:
    """What the excess of n inputs exchangeable with m calibration inputs keeps to, at `CONFIDENCE`.

    By Dvoretzky, Kiefer and Wolfowitz (Massart 1990), for either sample at half of what is left:
    given the calibration, P(p <= t) is above t by no more than its empirical distribution function
    is off, and the share of the inputs above that by no more than theirs is.
    """
    half = (1 - CONFIDENCE) / 2
    return sum(math.sqrt(math.log(1 / half) / (2 * size)) for size in (n, m))
