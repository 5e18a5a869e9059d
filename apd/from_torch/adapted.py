"""Any module as one of a single input and one vector per input, which is what a graph is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Shaped
from torch import Tensor, nn

from apd.from_torch.export import returned_by
from apd.from_torch.outputs import Output
from apd.graph import Part
from apd.inputs import pack, parts_of, unpack

Example = Tensor | Mapping[str, Tensor]

# what names in a module have ahead of them once it is adapted
PREFIX = "_apd_adapted."


class Adapted(nn.Module):
    """A module whose inputs come packed, if they have names, and whose output is chosen."""

    def __init__(self, module: nn.Module, parts: Sequence[Part], output: Output) -> None:
        super().__init__()
        self.add_module(PREFIX.rstrip("."), module)
        self.parts, self.output = parts, output

    def forward(self, x: Shaped[Tensor, "n *shape"]) -> Shaped[Tensor, "n d"]:
        """What the module returns, taken apart before and chosen from after."""
        module = self.get_submodule(PREFIX.rstrip("."))
        return self.output(module(**unpack(self.parts, x)) if self.parts else module(x))


def adapted(
    module: nn.Module, example: Example, output: str
) -> tuple[nn.Module, Shaped[Tensor, "n *shape"], tuple[Part, ...]]:
    """A module of one input and one vector per input, its inputs, and what they are packed of.

    Args:
        module: left as it is where it takes one tensor and returns one [n, d].
        example: inputs of the module, by name where there are several.
        output: which of its outputs is meant (`apd.from_torch.outputs`).

    Raises:
        TargetError: the module fails on the example, or has no such output.
    """
    chosen = Output.of(output)
    if isinstance(example, Mapping):
        named = {name: as_held_by(module, tensor) for name, tensor in example.items()}
        parts = parts_of(named)
        x = pack(parts, named)
        chosen(returned_by(module, named))
        return Adapted(module, parts, chosen), x, parts
    x = as_held_by(module, example)
    returned = returned_by(module, x)
    is_plain = chosen(returned) is returned
    return (module if is_plain else Adapted(module, (), chosen)), x, ()


def as_held_by(module: nn.Module, x: Shaped[Tensor, "n *shape"]) -> Shaped[Tensor, "n *shape"]:
    """Inputs where the module's own numbers are, floats in their precision."""
    held = next((t for t in module.state_dict().values() if t.is_floating_point()), x)
    return x.to(held.device, held.dtype if x.is_floating_point() else x.dtype)


def own_name(name: str) -> str:
    """The name in a module, of a name in what it was adapted to."""
    return f"{name}.".removeprefix(PREFIX).rstrip(".")
