"""One vector per input out of whatever a module returns.

An output is named by where it lies: keys of dicts, numbers of tuples and names of fields, with dots
between them; then, in brackets, positions of a tensor [n, p, d]. So "logits", "1", "states.0",
"logits[-1]" and "[3]". No name stands for the only tensor there is, no position for the last one.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Shaped
from torch import Tensor

from apd.errors import TargetError

GRAMMAR = re.compile(r"([^\[\]]*)((?:\[-?\d+\])*)")


@dataclass(frozen=True)
class Output:
    """Where the outputs to decompose lie in what a module returns.

    Attributes:
        name: keys, numbers and fields, with dots between them; empty for the only tensor.
        positions: of every axis between the first and the last; empty for the last position.
    """

    name: str
    positions: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> Output:
        """An output as people write it.

        Raises:
            TargetError: it is not understood.
        """
        match = GRAMMAR.fullmatch(text)
        if match is None:
            raise TargetError(
                f"the output {text!r} is not understood; write for example 'logits', '1', "
                "'logits[-1]' or '[3]'"
            )
        name, positions = match.groups()
        return cls(name, tuple(int(number) for number in re.findall(r"-?\d+", positions)))

    def __call__(self, returned: Any) -> Shaped[Tensor, "n d"]:
        """The vectors that lie there.

        Raises:
            TargetError: none do; the message says what does.
        """
        found = dict(tensors_in(returned))
        chosen = [n for n in found if not self.name or f"{n}.".startswith(f"{self.name}.")]
        if len(chosen) != 1:
            there = ", ".join(f"{n or 'a tensor'} {tuple(t.shape)}" for n, t in found.items())
            wrong = f" ({self.name!r} is none or several)" if self.name else ""
            raise TargetError(
                f"the target returns {there or type(returned).__name__}; choose one with the "
                f"output setting, --output{wrong}"
            )
        return self.vectors(found[chosen[0]])

    def vectors(self, tensor: Shaped[Tensor, "..."]) -> Shaped[Tensor, "n d"]:
        """A tensor's vectors at the positions.

        Raises:
            TargetError: there are no such positions.
        """
        if tensor.ndim == 1 and not self.positions:
            return tensor[:, None]
        between = tuple(tensor.shape[1:-1])
        positions = (-1,) if len(between) == 1 and not self.positions else self.positions
        inside = [-size <= at < size for at, size in zip(positions, between, strict=False)]
        if tensor.ndim < 2 or len(positions) != len(between) or not all(inside):
            raise TargetError(
                f"the target's output has shape {tuple(tensor.shape)}, and {self} is no vector for "
                "each of its inputs; name a position of every axis between the first and the last "
                "with the output setting, as in --output 'logits[-1]'"
            )
        for position in positions:
            tensor = tensor.select(1, position)
        return tensor

    def __str__(self) -> str:
        """As people write it."""
        return f"'{self.name}{''.join(f'[{position}]' for position in self.positions)}'"


def tensors_in(value: Any, name: str = "") -> Iterable[tuple[str, Tensor]]:
    """Every tensor in dicts, tuples, lists and dataclasses, and where it lies."""
    if isinstance(value, Tensor):
        yield name, value
    for key, item in items_of(value):
        yield from tensors_in(item, f"{name}.{key}" if name else str(key))


def items_of(value: Any) -> Iterable[tuple[Any, Any]]:
    """What a dict, a tuple, a list or a dataclass holds, and under which key."""
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, (tuple, list)):
        return zip(getattr(value, "_fields", range(len(value))), value, strict=True)
    if dataclasses.is_dataclass(value):
        return [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
    return []
