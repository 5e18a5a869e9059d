"""The table of other anomalies: adversarial, unseen, noisy and corrupted pictures."""

from __future__ import annotations

import torch
from anomalies import ANOMALIES
from backdoors import Row
from defenders import Subject
from scores import Scores, family, figures, online


def anomalies(subject: Subject) -> tuple[list[Row], Scores]:
    """A row for every anomaly and score; every disturbed picture counts."""
    found, test = subject.victim, subject.parts.test
    groups = {"clean": test.images}
    for name, disturb in ANOMALIES.items():
        generator = torch.Generator().manual_seed(found.recipe.seed)
        groups[name] = disturb(found.logits, test.images, test.labels, generator)
    scores = online(subject.defender(subject.parts.reference), groups)
    rows = [
        {
            **subject.facts(),
            "anomaly": anomaly,
            "score": name,
            "family": family(name),
            **figures(values["clean"], values[anomaly]),
        }
        for name, values in scores.items()
        for anomaly in ANOMALIES
    ]
    return rows, scores
