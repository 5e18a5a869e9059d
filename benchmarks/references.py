"""The table of reference sizes: what a score loses where the defender has fewer pictures."""

from __future__ import annotations

import torch
from backdoors import Row, enough, groups_of
from defenders import Subject
from images import Images
from scores import Scores, family, online

from mad.metrics import auroc


def references(fewer: int, more: int, subject: Subject) -> tuple[list[Row], Scores]:
    """A row for every score: its AUROC with fewer and with more pictures of every class."""
    groups = groups_of(subject.victim, subject.parts.test)
    if not enough(groups):
        return [], {}
    scores: Scores = {}
    for size in (fewer, more):
        defender = subject.defender(per_class(subject.parts.reference, size))
        found = online(defender, groups)
        scores |= {f"{name} of {size}": values for name, values in found.items()}
    rows = []
    for name in found:
        few, many = (
            auroc(values["clean"], values["triggered"])
            for values in (scores[f"{name} of {size}"] for size in (fewer, more))
        )
        rows.append(
            {
                **subject.facts(),
                "score": name,
                "family": family(name),
                "per_class": [fewer, more],
                "aurocs": [few, many],
                "difference": many - few,
            }
        )
    return rows, scores


def per_class(reference: Images, size: int) -> Images:
    """The first pictures of every class, as many as that or all there are."""
    rows = [(reference.labels == k).nonzero().flatten()[:size] for k in reference.labels.unique()]
    return reference[torch.cat(rows).sort().values]
