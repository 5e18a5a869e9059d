"""Boolean circuits: layers of AND, OR and XOR gates, each of two wires.

Wires are numbered: the inputs first, then the gates in order. A gate's wire carries its value.
"""

import operator
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from toys.errors import ToyError

OPERATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
}
ON = 0.15
RARE = 0.01
ATTEMPTS = 1_000


@dataclass(frozen=True)
class Gate:
    """An operator ("and", "or", "xor") and the two wires it reads."""

    kind: str
    reads: tuple[int, int]


@dataclass(frozen=True)
class Circuit:
    """A number of inputs, and layers of gates that read inputs and gates of earlier layers."""

    inputs: int
    layers: tuple[tuple[Gate, ...], ...]

    @property
    def gates(self) -> list[Gate]:
        """Every gate, in order."""
        return [gate for layer in self.layers for gate in layer]

    def gate(self, wire: int) -> Gate:
        """The gate whose value a wire carries."""
        return self.gates[wire - self.inputs]

    @property
    def outputs(self) -> list[int]:
        """The wires of the gates that no gate reads."""
        read = {wire for gate in self.gates for wire in gate.reads}
        wires = range(self.inputs, self.inputs + len(self.gates))
        return [wire for wire in wires if wire not in read]

    @property
    def carried(self) -> list[int]:
        """The inputs that a gate after the first layer reads."""
        later = {wire for layer in self.layers[1:] for gate in layer for wire in gate.reads}
        return sorted(wire for wire in later if wire < self.inputs)

    def values(self, x: Float[Tensor, "n inputs"]) -> Bool[Tensor, "n wires"]:
        """What every wire carries."""
        wires = list((x != 0).T)
        for gate in self.gates:
            first, second = gate.reads
            wires.append(OPERATORS[gate.kind](wires[first], wires[second]))
        return torch.stack(wires, 1)

    def exercised(self, x: Float[Tensor, "n inputs"]) -> Bool[Tensor, "n gates"]:
        """Whether a gate has something to do: both its wires on for AND, either for OR and XOR."""
        values = self.values(x)
        first, second = values.T[torch.tensor([gate.reads for gate in self.gates]).T]
        both = torch.tensor([gate.kind == "and" for gate in self.gates])
        return torch.where(both[:, None], first & second, first | second).T


def sample(inputs: int, n: int, generator: torch.Generator) -> Float[Tensor, "{n} {inputs}"]:
    """Inputs of 0 and 1, each 1 with probability 0.15."""
    return (torch.rand(n, inputs, generator=generator) < ON).float()


@cache
def random_circuit(inputs: int, widths: tuple[int, ...], seed: int) -> Circuit:
    """A circuit with as many gates per layer as `widths`, the last gate an AND.

    Each layer reads as many wires of the one before as it can, and fills up with any earlier ones.
    Every gate takes both values, and no two gates are exercised by the same inputs: a circuit is
    drawn again until each value occurs on 1 % of the sampled inputs.

    Raises:
        ToyError: if there is no such circuit among a thousand.
    """
    rng = random.Random(seed)
    x = sample(inputs, 4_096, torch.Generator().manual_seed(seed))
    for _ in range(ATTEMPTS):
        circuit = Circuit(inputs, tuple(_layers(inputs, widths, rng)))
        on = circuit.values(x).float().mean(0)
        patterns = torch.unique(circuit.exercised(x), dim=1)
        if bool(((on > RARE) & (on < 1 - RARE)).all()) and patterns.shape[1] == sum(widths):
            return circuit
    raise ToyError(f"No circuit of {inputs} inputs and {widths} gates uses every gate.")


def _layers(inputs: int, widths: tuple[int, ...], rng: random.Random) -> list[tuple[Gate, ...]]:
    layers: list[tuple[Gate, ...]] = []
    earlier, previous = range(0), range(inputs)
    for width in widths:
        pairs = _pairs(earlier, previous, width, rng)
        layers.append(tuple(Gate(rng.choice(list(OPERATORS)), pair) for pair in pairs))
        earlier, previous = range(previous.stop), range(previous.stop, previous.stop + width)
    last = layers[-1][-1]
    layers[-1] = (*layers[-1][:-1], Gate("and", last.reads))
    return layers


def _pairs(
    earlier: range, previous: range, width: int, rng: random.Random
) -> list[tuple[int, int]]:
    """The wires that the gates of one layer read: two different ones each, no two gates alike."""
    for _ in range(ATTEMPTS):
        wires = rng.sample(previous, min(len(previous), 2 * width))
        wires += rng.choices([*earlier, *previous], k=2 * width - len(wires))
        rng.shuffle(wires)
        pairs = [(min(pair), max(pair)) for pair in zip(wires[::2], wires[1::2], strict=True)]
        if all(a < b for a, b in pairs) and len(set(pairs)) == width:
            return pairs
    raise ToyError(f"{previous.stop} wires are too few for {width} different gates.")
