"""The backdoor's table: triggered inputs against clean ones, and against look-alikes."""

from __future__ import annotations

from attacks import TARGET, Pictures
from defenders import Subject
from images import Images
from scores import Scores, family, figures, offline, online
from victims import Victim

from mad.metrics import auroc

FEWEST = 20
Row = dict[str, object]


def groups_of(found: Victim, test: Images) -> dict[str, Pictures]:
    """Pictures to tell apart, that no one has trained on.

    Returns:
        clean: as they are; triggered: those the trigger turned into the target class; alike:
        look-alikes that keep their prediction.
    """
    attack = found.recipe.attacker()
    before = found.predictions(test.images)
    triggered = attack.trigger(test.images)
    turned = attack.eligible(test.labels) & (before != TARGET)
    turned &= found.predictions(triggered) == TARGET
    alike = attack.lookalike(test.images)
    same = attack.lookalike_eligible(test.labels) & (before != TARGET)
    same &= found.predictions(alike) == before
    return {"clean": test.images, "triggered": triggered[turned], "alike": alike[same]}


def enough(groups: dict[str, Pictures]) -> bool:
    """Whether there is anything to tell apart."""
    return min(map(len, groups.values())) >= FEWEST


def backdoors(subject: Subject) -> tuple[list[Row], Scores]:
    """Every score's row for one victim; a single row without one where the attack has failed."""
    groups = groups_of(subject.victim, subject.parts.test)
    facts = {**subject.facts(), **{group: len(images) for group, images in groups.items()}}
    if not enough(groups):
        return [{**facts, "score": "none", "family": "none"}], {}
    defender = subject.defender(subject.parts.reference)
    facts |= defender.found()
    by_itself = online(defender, groups)
    mixed = offline(defender, {group: groups[group] for group in ("clean", "triggered")})
    rows = [{**facts, **told(name, values)} for name, values in (by_itself | mixed).items()]
    return rows, by_itself | mixed


def told(name: str, values: dict) -> Row:
    """What one score's values come to; an offline one's batch has no look-alikes."""
    clean, triggered = values["clean"], values["triggered"]
    row = {"score": name, "family": family(name), **figures(clean, triggered)}
    if "alike" in values:
        row["auroc_vs_lookalike"] = auroc(values["alike"], triggered)
        row["auroc_of_lookalike"] = auroc(clean, values["alike"])
    return row
