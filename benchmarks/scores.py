"""Every score of groups of pictures; all go up with anomaly, in directions fixed beforehand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from attacks import Pictures
from controls import CONTROLS
from defenders import Defender

import mad
from mad import metrics
from mad.baselines import BASELINES, OFFLINE

DRAWS = 200
OURS = "apd"
LOOK_AT_ACTIVATIONS = ("_layer", "_layers", "ted")

Groups = Mapping[str, Pictures]
Told = dict[str, np.ndarray]  # of a score: the values of every group
Scores = dict[str, Told]


def online(defender: Defender, groups: Groups) -> Scores:
    """Ours, the controls' and all baselines' that score every input by itself."""
    scores = detected(OURS, defender.detector(), defender, groups)
    for name in CONTROLS:
        scores |= detected(name, defender.control(name), defender, groups)
    trusted = defender.trusted()
    seen = {group: defender.observed(images) for group, images in groups.items()}
    for name, fit in BASELINES.items():
        baseline = fit(trusted)
        scores[name] = {group: kept(baseline.score(one)) for group, one in seen.items()}
    return scores


def detected(name: str, detector: mad.Detector, defender: Defender, groups: Groups) -> Scores:
    """A detector's total and every term of it."""
    results = {group: detector.score(defender.victim.inputs(x)) for group, x in groups.items()}
    scores = {name: {group: kept(result.bits) for group, result in results.items()}}
    for term in detector.profile.scores:
        scores[f"{name}/{term}"] = {g: kept(result.terms[term]) for g, result in results.items()}
    return scores


def offline(defender: Defender, groups: Groups) -> Scores:
    """The baselines that look at a whole batch, which is all groups together."""
    trusted, mixture = defender.trusted(), defender.observed(torch.cat(list(groups.values())))
    cuts = np.cumsum([len(images) for images in groups.values()])[:-1]
    return {
        name: dict(zip(groups, np.split(kept(fit(trusted).score(mixture)), cuts), strict=True))
        for name, fit in OFFLINE.items()
    }


def kept(values: np.ndarray) -> np.ndarray:
    """Scores as the cache keeps them, so that figures can be had from there again."""
    return values.astype(np.float32)


def family(name: str) -> str:
    """What kind of score it is: ours, one of the terms, a control or a baseline."""
    base, _, term = name.partition("/")
    if term:
        return "term"
    if base == OURS:
        return "ours"
    if base in CONTROLS:
        return "control"
    if base in OFFLINE:
        return "offline"
    return "activations" if base.endswith(LOOK_AT_ACTIVATIONS) else "baseline"


def figures(clean: np.ndarray, anomalous: np.ndarray) -> dict[str, float]:
    """What a score's values come to, with bootstrap intervals."""
    wanted = {
        "auroc": metrics.area_under_roc,
        "tpr_at_1fpr": metrics.tpr_at(0.01),
        "tpr_at_01fpr": metrics.tpr_at(0.001),
        "fpr_at_95tpr": metrics.fpr_at(0.95),
    }
    found = metrics.estimates(clean, anomalous, wanted, draws=DRAWS)
    return {
        name + suffix: value
        for name, one in found.items()
        for suffix, value in (("", one.value), ("_low", one.low), ("_high", one.high))
    }
