"""A Boolean circuit as a ReLU network with known mechanisms.

With a and b in {0, 1}, AND is ReLU(a + b - 1), OR is ReLU(a + b) - ReLU(a + b - 1) and XOR is
ReLU(a + b) - 2 ReLU(a + b - 1). A wire that a later layer needs passes every layer in between
through a neuron of its own. The outputs are the values of the gates that no gate reads.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toys.circuit import Circuit

# kind -> (bias, share) of each neuron
GATES = {
    "and": ((-1.0, 1.0),),
    "or": ((0.0, 1.0), (-1.0, -1.0)),
    "xor": ((0.0, 1.0), (-1.0, -2.0)),
}


class Neuron(NamedTuple):
    """ReLU(sum of the wires it reads + bias); share times that goes into the value of its wire."""

    wire: int
    reads: tuple[int, ...]
    bias: float = 0.0
    share: float = 1.0


def network(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers of these widths, inputs first, with ReLU in between; no bias at the end."""
    *hidden, last = pairwise(widths)
    modules: list[nn.Module] = []
    for width in hidden:
        modules += [nn.Linear(*width), nn.ReLU()]
    return nn.Sequential(*modules, nn.Linear(*last, bias=False))


def layers(circuit: Circuit) -> list[list[Neuron]]:
    """The neurons of every layer of the network: the inputs, the hidden layers, the outputs."""
    found = [_passing(range(circuit.inputs))]
    first = circuit.inputs
    for index, gates in enumerate(circuit.layers):
        own = [
            Neuron(wire, gate.reads, bias, share)
            for wire, gate in enumerate(gates, first)
            for bias, share in GATES[gate.kind]
        ]
        later = {wire for layer in circuit.layers[index + 1 :] for g in layer for wire in g.reads}
        kept = sorted(wire for wire in later.union(circuit.outputs) if wire < first)
        found.append(own + _passing(kept))
        first += len(gates)
    return [*found, _passing(circuit.outputs)]


def compiled(circuit: Circuit) -> nn.Sequential:
    """The network that computes the circuit exactly."""
    neurons = layers(circuit)
    model = network([len(layer) for layer in neurons])
    weights = {f"{2 * index}.weight": weight for index, weight in enumerate(_weights(neurons))}
    biases = {
        f"{2 * index}.bias": torch.tensor([neuron.bias for neuron in layer])
        for index, layer in enumerate(neurons[1:-1])
    }
    model.load_state_dict({**weights, **biases})
    return model.eval().requires_grad_(False)


def mechanisms(circuit: Circuit) -> list[dict[str, Tensor]]:
    """One per gate, then one per carried input. They sum to the weights.

    A gate's are the weights into its neurons, into the neurons that its value passes through and
    into its output; a carried input's those into the neurons that it passes through.
    """
    neurons = layers(circuit)
    owners = [torch.tensor([neuron.wire for neuron in layer]) for layer in neurons[1:]]
    weights = _weights(neurons)
    gates = range(circuit.inputs, circuit.inputs + len(circuit.gates))
    return [
        {
            f"{2 * index}.weight": weight * (owner == wire)[:, None]
            for index, (weight, owner) in enumerate(zip(weights, owners, strict=True))
        }
        for wire in (*gates, *circuit.carried)
    ]


def _passing(wires: Sequence[int]) -> list[Neuron]:
    return [Neuron(wire, (wire,)) for wire in wires]


def _weights(neurons: list[list[Neuron]]) -> list[Float[Tensor, "after before"]]:
    return [
        torch.tensor(
            [[old.share if old.wire in new.reads else 0.0 for old in before] for new in after]
        )
        for before, after in pairwise(neurons)
    ]
