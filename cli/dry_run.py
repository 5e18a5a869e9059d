"""`apd train --dry-run`: what a training will take, from a few of its steps."""

from __future__ import annotations

from cli.plan import Plan


def say_what_it_takes(plan: Plan, *, trust: bool) -> None:
    """Prints sizes, memory and time; writes nothing.

    Raises:
        apd.ApdError, toys.ToyError, CliError: the plan cannot be trained; see `gather`.
    """
    import torch

    import apd
    from cli.console import duration, facts, screen
    from cli.targets import device_of, gather
    from cli.training import refuse_small

    config = apd.Config.of(dict(plan.decomposition))
    material = gather(plan, trust=trust)
    refuse_small(len(material.reference), config)
    device = device_of(plan.device)
    reference = torch.as_tensor(material.reference).to(device)
    found = apd.estimate(material.module.to(device), reference, config)
    facts(
        screen(),
        {
            "weights": f"{found.parameters:,} in {found.sites} sites",
            "components": f"{found.components}, of rank {found.rank} at most at a site",
            "batch": f"{found.batch_size} inputs",
            "memory": f"about {size(found.memory)} beside Python and torch",
            "time": f"{found.step_s:.2g} s a step, {duration(found.seconds)} for "
            f"{found.steps:,} steps",
        },
    )


def size(count: int) -> str:
    """A number of bytes as people say it."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"
