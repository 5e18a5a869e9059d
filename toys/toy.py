"""A toy: a trained network with its trusted inputs, its labelled inputs and its ground truth."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from toys.errors import ToyError


@dataclass(frozen=True, eq=False)
class Labelled:
    """Inputs to score, and what is known about each.

    Attributes:
        x: the inputs.
        y: the true class, or -1 where the task has no classes.
        is_anomaly: whether the network's output came about through a planted mechanism.
        kind: how the input was made ("clean", "triggered", "look-alike"; of planted mechanisms,
            "alone" or "with others"), n words.
    """

    x: Float[Tensor, "n ..."]
    y: Int64[Tensor, " n"]
    is_anomaly: Bool[Tensor, " n"]
    kind: tuple[str, ...]

    def __len__(self) -> int:
        """The number of inputs."""
        return len(self.kind)

    @classmethod
    def clean(cls, x: Float[Tensor, "n ..."]) -> "Labelled":
        """Inputs of a task without classes, none of them anomalous."""
        n = len(x)
        return cls(
            x=x,
            y=torch.full((n,), -1),
            is_anomaly=torch.zeros(n, dtype=torch.bool),
            kind=("clean",) * n,
        )


@dataclass(frozen=True, eq=False)
class Toy:
    """A small network whose mechanisms are known.

    Attributes:
        name: its name in `toys.TOYS`.
        seed: the seed it was made from.
        model: the trained network, in eval mode and with no gradients required.
        reference: trusted inputs, [n, ...].
        inputs: held-out inputs to score, of the reference's shape per input.
        mechanisms: the ground truth, each {parameter name: tensor of the parameter's shape};
            parameters left out are zero. Empty where the mechanisms are not known as weights.
        planted: the number, among the mechanisms of `toys.active`, of the one that no reference
            input and every anomaly exercises; None where the reference exercises them all.

    Raises:
        ToyError: if the inputs do not have the reference's shape, or a mechanism's tensor not the
            shape of its parameter.
    """

    name: str
    seed: int
    model: nn.Module
    reference: Float[Tensor, "n ..."]
    inputs: Labelled
    mechanisms: list[dict[str, Tensor]]
    planted: int | None = None

    def __post_init__(self) -> None:
        if self.reference.shape[1:] != self.inputs.x.shape[1:]:
            raise ToyError("The reference and the inputs differ in shape.")
        shapes = {name: parameter.shape for name, parameter in self.model.named_parameters()}
        for mechanism in self.mechanisms:
            for name, tensor in mechanism.items():
                if tensor.shape != shapes.get(name):
                    raise ToyError(f"A mechanism does not have the shape of parameter {name!r}.")
