"""How well a run found the mechanisms of its target, where that is a toy whose own are known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cli.errors import InputError

if TYPE_CHECKING:
    import apd
    import toys

COLUMNS_SITE = "W"


def toy_in(directory: Path, run: apd.Run) -> toys.Toy | None:
    """The toy that a run's target is, or None where it is not one or is there no more, whole."""
    import toys
    from cli.plan import recorded
    from cli.targets import toy_of

    try:
        plan = recorded(directory)
        toy = toy_of(plan) if plan is not None else None
    except (toys.ToyError, InputError):
        return None
    return toy if toy is not None and has_weights_of(run, toy) else None


def recovery_of(run: apd.Run, toy: toys.Toy | None) -> dict[str, str] | None:
    """How well the run found the mechanisms of its target, where that is a toy that knows them."""
    if toy is None or not toy.mechanisms:
        return None
    return {**columns_of(run), **mechanisms_of(run, toy)}


def has_weights_of(run: apd.Run, toy: toys.Toy) -> bool:
    """Whether the run's sites hold the toy's own weights."""
    import torch

    state = toy.model.state_dict()
    return all(
        site in state and torch.equal(run.target.weight(site).cpu(), state[site])
        for site in run.target.sites
    )


def columns_of(run: apd.Run) -> dict[str, str]:
    """MMCS and ML2R of input features as published (APD paper, section 3.1), of superposition."""
    import torch

    import apd

    if list(run.target.sites) != [COLUMNS_SITE]:
        return {}
    weight = run.target.weight(COLUMNS_SITE)
    parts = (run.components.component(c)[COLUMNS_SITE] for c in range(run.components.count))
    components = torch.stack(list(parts))
    return {
        "MMCS": f"{apd.recovery.mmcs(weight, components):.4f}",
        "ML2R": f"{apd.recovery.ml2r(weight, components):.4f}",
    }


def mechanisms_of(run: apd.Run, toy: toys.Toy) -> dict[str, str]:
    """How many mechanisms are components of their own, and how alike the two are."""
    import apd

    best = apd.recovery.best(toy.mechanisms, run.components)
    own = apd.recovery.one_to_one(toy.mechanisms, run.components)
    return {
        "mechanisms recovered": f"{int(own.recovered().sum())} of {len(toy.mechanisms)}",
        "distinct components": f"{best.distinct}",
        "MMCS of mechanisms": f"{best.mmcs:.4f}",
        "ML2R of mechanisms": f"{best.ml2r:.4f}",
    }
