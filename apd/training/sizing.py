"""How much of a training fits into memory, and the settings cut to it.

What a step holds grows with its inputs: what the network computes for every one, the gradients of
that, and what every component reads and writes wherever a weight is applied. A large network, or
one of many positions, therefore takes fewer inputs at a time. The bound is the same on every
machine, so that the same seed gives the same run.
"""

from __future__ import annotations

from apd.batch_sizes import numbers_at_uses, numbers_of, rows_that_fit
from apd.components import Components
from apd.config import Config
from apd.target import Target
from apd.training.state import component_count

PASSES = 2
COPIES = 5


def sized(config: Config, target: Target) -> Config:
    """The settings with a rank that a component can have at some site, and a batch that fits."""
    rank = min(config.rank, max(min(site.shape) for site in target.sites.values()))
    count = max(component_count(target.alone(site), config) for site in target.sites)
    each = numbers_per_input(target, count * rank)
    fitting = min(config.batch_size, rows_that_fit(each))
    return config.model_copy(update={"rank": rank, "batch_size": fitting})


def numbers_per_input(target: Target, parts: int) -> int:
    """How many numbers a step holds for one input: two passes, and the parts at every use.

    Args:
        target: the network.
        parts: components times their rank.
    """
    return PASSES * numbers_of(target) + numbers_at_uses(target, parts)


def memory(target: Target, components: Components, config: Config) -> int:
    """About how many bytes training holds: a step's numbers, the weights, and the components.

    Weights are held beside the gap that components leave, the background, and gradients at both;
    components beside their moments, their first state, and themselves by shares.
    """
    of_step = config.batch_size * numbers_per_input(target, components.count * config.rank)
    standing = sum(tensor.numel() for tensor in (*target.state.values(), *components.tensors()))
    return (of_step + COPIES * standing) * target.dtype.itemsize
