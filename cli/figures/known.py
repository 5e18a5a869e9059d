"""Which toys have an output for every input, and who owns the weights between."""

from __future__ import annotations

from typing import cast

import torch

from cli.figures.subject import Subject
from toys.identity import IdentityTMS
from toys.residual import Residual, blocks
from toys.superposition import TMS

COLUMNS = "W"


def is_superposition(subject: Subject) -> bool:
    """Whether features are the columns of one decomposed weight, each a mechanism."""
    toy = subject.toy
    return (
        toy is not None
        and isinstance(toy.model, TMS | IdentityTMS)
        and COLUMNS in subject.run.target.sites
    )


def is_residual_mlp(subject: Subject) -> bool:
    """Whether neurons stand between inputs and the outputs read off where they were written.

    Then mechanism i is what reads input i and what writes output i.
    """
    toy = subject.toy
    if toy is None or not isinstance(toy.model, Residual) or not toy.mechanisms:
        return False
    return torch.equal(toy.model.W_E, toy.model.W_U) and set(neuron_sites(subject)) <= set(
        subject.run.target.sites
    )


def neuron_sites(subject: Subject) -> list[str]:
    """The weights that the neurons of a residual toy read and write by, block by block."""
    assert subject.toy is not None
    count = len(blocks(cast(Residual, subject.toy.model)))
    return [f"blocks.{i}.{name}" for i in range(count) for name in ("W_in", "W_out")]


def features_of(subject: Subject) -> int:
    """How many inputs there are, where mechanism i is of input i and output i; else 0."""
    if is_superposition(subject) or is_residual_mlp(subject):
        (count,) = subject.run.input_shape
        return count
    return 0
