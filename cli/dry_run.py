"""`apd train --dry-run`: what a training will take, from a few of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.plan import Plan

if TYPE_CHECKING:
    import apd


def tried(plan: Plan, *, trust: bool) -> apd.Estimate:
    """Takes a few steps, and writes nothing.

    Raises:
        apd.ApdError, toys.ToyError, CliError: the plan cannot be trained; see `gather`.
    """
    import torch

    import apd
    from cli.targets import device_of, gather
    from cli.training import refuse_small, warn_of_small

    config = apd.Config.of(dict(plan.decomposition))
    material = gather(plan, trust=trust)
    refuse_small(len(material.reference), config)
    device = device_of(plan.device)
    reference = torch.as_tensor(material.reference).to(device)
    found = apd.estimate(material.module.to(device), reference, config)
    warn_of_small(len(reference), config)
    return found


def say(found: apd.Estimate) -> None:
    """Prints sizes, memory and time."""
    from cli.console import duration, facts, screen

    facts(
        screen(),
        {
            "weights": f"{found.parameters:,} in {found.sites} sites",
            "parts": f"{found.components} to start with, of rank {found.rank} at most",
            "batch": f"{found.batch_size} inputs",
            "memory": f"about {size(found.memory)} beside Python and torch",
            "time": f"{found.step_s:.2g} s a step, {duration(found.seconds)} for "
            f"{found.steps:,} steps",
        },
    )


def told(found: apd.Estimate) -> dict[str, object]:
    """The same, for programs; memory in bytes, times in seconds."""
    return {**vars(found), "seconds": found.seconds}


def size(count: int) -> str:
    """A number of bytes as people say it."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"
