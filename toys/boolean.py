"""Random Boolean circuits as networks: compiled by hand, or learnt from inputs and outputs."""

from collections.abc import Iterator
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from toys.circuit import Circuit, sample
from toys.compiler import compiled, layers, mechanisms, network
from toys.fit import fit, initialised
from toys.planted import draw
from toys.toy import Toy

WIDTH, STEPS, POOL = 64, 3_000, 100_000


def active(circuit: Circuit, x: Float[Tensor, "n inputs"]) -> Bool[Tensor, "n mechanisms"]:
    """Gates with something to do (`Circuit.exercised`), then carried inputs that are on."""
    return torch.cat([circuit.exercised(x), x[:, circuit.carried] != 0], 1)


def compiled_architecture(circuit: Circuit) -> nn.Sequential:
    """The network that the compiled circuit fits into, before its weights are set."""
    return network([len(layer) for layer in layers(circuit)])


def learning_architecture(circuit: Circuit) -> nn.Sequential:
    """The untrained network that is to learn the circuit: 64 neurons per layer of gates."""
    return network([circuit.inputs, *[WIDTH] * len(circuit.layers), len(circuit.outputs)])


def build(circuit: Circuit, seed: int, planted: bool = False) -> Toy:
    """The toy "boolean": the compiled circuit, whose mechanisms are known exactly."""
    generator = torch.Generator().manual_seed(seed)
    model, known = compiled(circuit), mechanisms(circuit)
    return _toy("boolean", circuit, seed, model, known, planted, generator)


def build_trained(circuit: Circuit, seed: int, planted: bool = False, *, steps: int = STEPS) -> Toy:
    """The toy "boolean-trained": a network that learnt what "boolean" computes.

    Its mechanisms are known by what they do, see `active`, and not as weights.
    """
    generator = torch.Generator().manual_seed(seed)
    model = fit(
        initialised(partial(learning_architecture, circuit), seed),
        _batches(circuit, generator),
        mse_loss,
        steps=steps,
        lr=1e-2,
    )
    return _toy("boolean-trained", circuit, seed, model, [], planted, generator)


def rarest(circuit: Circuit) -> int:
    """The number of the gate that is on least often among the ANDs whose values are outputs."""
    on = circuit.values(sample(circuit.inputs, 4_096, torch.Generator().manual_seed(0))).sum(0)
    shown = [wire for wire in circuit.outputs if circuit.gate(wire).kind == "and"]
    return min(shown, key=lambda wire: int(on[wire])) - circuit.inputs


def _toy(
    name: str,
    circuit: Circuit,
    seed: int,
    model: nn.Module,
    known: list[dict[str, Tensor]],
    planted: bool,
    generator: torch.Generator,
) -> Toy:
    """A planted anomaly is an input that switches on the rarest AND gate that is an output."""
    absent = rarest(circuit) if planted else None
    reference, inputs = draw(
        partial(sample, circuit.inputs), partial(active, circuit), absent, generator
    )
    return Toy(
        name=name,
        seed=seed,
        model=model,
        reference=reference,
        inputs=inputs,
        mechanisms=known,
        planted=absent,
    )


def _batches(circuit: Circuit, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    x = sample(circuit.inputs, POOL, generator)
    y = circuit.values(x)[:, circuit.outputs].float()
    while True:
        rows = torch.randint(POOL, (512,), generator=generator)
        yield x[rows], y[rows]
