"""Boolean circuits: the networks against an evaluator of their own, and whose weights are whose."""

from itertools import product

import pytest
import torch
from torch import Tensor

import toys
from toys import boolean
from toys.circuit import Circuit, Gate, random_circuit, sample
from toys.compiler import compiled, layers, mechanisms

TABLE = {
    "and": {(0, 0): 0, (0, 1): 0, (1, 0): 0, (1, 1): 1},
    "or": {(0, 0): 0, (0, 1): 1, (1, 0): 1, (1, 1): 1},
    "xor": {(0, 0): 0, (0, 1): 1, (1, 0): 1, (1, 1): 0},
}

# gates 4 and 8 (an AND) are outputs before the last layer, input 3 is first read in the last
BY_HAND = Circuit(
    4,
    (
        (Gate("xor", (0, 1)), Gate("or", (0, 2)), Gate("and", (1, 2))),
        (Gate("or", (4, 5)), Gate("and", (0, 5))),
        (Gate("xor", (3, 7)), Gate("and", (6, 7)), Gate("or", (2, 6))),
    ),
)

CIRCUITS = [BY_HAND, *(random_circuit(9, (7, 6, 5), seed) for seed in range(4))]


def evaluate(circuit: Circuit, bits: tuple[int, ...]) -> list[int]:
    """Every wire's value, by truth table."""
    wires = list(bits)
    for layer in circuit.layers:
        for gate in layer:
            wires.append(TABLE[gate.kind][wires[gate.reads[0]], wires[gate.reads[1]]])
    return wires


def rows(n: int) -> list[tuple[int, ...]]:
    return list(product((0, 1), repeat=n))


@pytest.fixture(params=CIRCUITS, ids=lambda circuit: f"{circuit.inputs} inputs")
def circuit(request) -> Circuit:
    return request.param


@pytest.fixture(scope="module")
def learnt() -> toys.Toy:
    return toys.make("boolean-trained", seed=2, planted=True)


def test_the_compiled_network_equals_the_truth_table_on_all_inputs(circuit):
    bits = rows(circuit.inputs)
    truth = torch.tensor([evaluate(circuit, row) for row in bits])
    x = torch.tensor(bits, dtype=torch.float32)
    assert torch.equal(circuit.values(x), truth.bool())
    assert torch.equal(compiled(circuit)(x), truth[:, circuit.outputs].float())


def test_the_toy_equals_the_truth_table_on_its_inputs():
    toy = toys.make("boolean", seed=5)
    circuit = random_circuit(16, (12, 8), 5)
    x = toy.inputs.x
    truth = [evaluate(circuit, tuple(row)) for row in x.int().tolist()]
    assert toy.model(x).tolist() == [
        [float(row[wire]) for wire in circuit.outputs] for row in truth
    ]


def test_gates_read_earlier_wires_and_every_wire_ends_somewhere(circuit):
    wire = circuit.inputs
    for layer in circuit.layers:
        for gate in layer:
            assert 0 <= gate.reads[0] < gate.reads[1] < wire
        wire += len(layer)
    read = {wire for gate in circuit.gates for wire in gate.reads}
    assert read.isdisjoint(circuit.outputs)
    assert read.union(circuit.outputs) == set(range(wire))


def test_neurons_and_wires_that_pass_layers():
    neurons = [[neuron.wire for neuron in layer] for layer in layers(BY_HAND)]
    assert neurons[1] == [4, 4, 5, 5, 6, 0, 2, 3]
    assert neurons[2] == [7, 7, 8, 2, 3, 6]
    assert BY_HAND.outputs == neurons[4] == [8, 9, 10, 11]
    assert neurons[3] == [9, 9, 10, 11, 11, 8]
    assert BY_HAND.carried == [0, 2, 3]


def test_mechanisms_sum_to_the_weights_exactly_and_share_no_neuron(circuit):
    found = mechanisms(circuit)
    assert len(found) == len(circuit.gates) + len(circuit.carried)
    for name, weight in compiled(circuit).named_parameters():
        if name.endswith("weight"):
            parts = torch.stack([mechanism[name] for mechanism in found])
            assert torch.equal(parts.sum(0), weight)
            assert (parts.any(2).sum(0) == 1).all()


def without(model: torch.nn.Module, mechanism: dict[str, Tensor], x: Tensor) -> Tensor:
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    model.load_state_dict(before | {name: before[name] - mechanism[name] for name in mechanism})
    y = model(x)
    model.load_state_dict(before)
    return y


def stuck_at_zero(circuit: Circuit, stuck: int, bits: tuple[int, ...]) -> list[int]:
    wires = list(bits)
    for gate in circuit.gates:
        value = TABLE[gate.kind][wires[gate.reads[0]], wires[gate.reads[1]]]
        wires.append(0 if len(wires) == stuck else value)
    return [wires[wire] for wire in circuit.outputs]


def test_without_a_gates_mechanism_its_wire_is_stuck_at_zero(circuit):
    bits = rows(circuit.inputs)[:: 2 ** (circuit.inputs - 4)]
    x = torch.tensor(bits, dtype=torch.float32)
    model = compiled(circuit)
    for gate, mechanism in enumerate(mechanisms(circuit)[: len(circuit.gates)]):
        truth = [stuck_at_zero(circuit, circuit.inputs + gate, row) for row in bits]
        assert without(model, mechanism, x).tolist() == truth


def test_exercised_means_that_a_neuron_of_the_gate_is_on(circuit):
    x = torch.tensor(rows(circuit.inputs), dtype=torch.float32)
    model, neurons = compiled(circuit), layers(circuit)
    on = torch.zeros(len(x), circuit.inputs + len(circuit.gates), dtype=torch.bool)
    hidden = x
    for index, layer in enumerate(neurons[1:-1]):
        hidden = model[2 * index](hidden).relu()
        for wire, column in zip((neuron.wire for neuron in layer), hidden.T, strict=True):
            own = wire >= circuit.inputs + sum(map(len, circuit.layers[:index]))
            on[:, wire] |= (column > 0) & (own or wire < circuit.inputs)
    wires = [*range(circuit.inputs, on.shape[1]), *circuit.carried]
    assert torch.equal(boolean.active(circuit, x), on[:, wires])


def test_every_gate_takes_both_values_often_enough():
    for seed in range(8):
        circuit = random_circuit(16, (12, 8), seed)
        x = sample(16, 20_000, torch.Generator().manual_seed(99))
        on = circuit.values(x).float().mean(0)
        assert on.min() > 0.005
        assert on.max() < 0.995
        assert x.mean().item() == pytest.approx(0.15, abs=0.01)


def test_the_rarest_gate_is_an_and_whose_value_is_an_output(circuit):
    rarest = circuit.inputs + boolean.rarest(circuit)
    assert rarest in circuit.outputs
    assert circuit.gate(rarest).kind == "and"
    x = sample(circuit.inputs, 20_000, torch.Generator().manual_seed(98))
    on = circuit.values(x).float().mean(0)
    ands = [wire for wire in circuit.outputs if circuit.gate(wire).kind == "and"]
    assert on[rarest] < on[ands].min() + 0.01


def test_the_trained_network_learnt_the_circuit(learnt):
    circuit = random_circuit(16, (12, 8), learnt.seed)
    x = sample(16, 20_000, torch.Generator().manual_seed(97))
    truth = circuit.values(x)[:, circuit.outputs].float()
    assert (learnt.model(x) - truth).square().mean() < 2e-4
    assert (learnt.model(x).round() == truth).float().mean() > 0.9995


def test_the_trained_network_computes_the_gate_that_its_reference_never_shows(learnt):
    circuit = random_circuit(16, (12, 8), learnt.seed)
    output = circuit.outputs.index(16 + learnt.planted)
    anomalous = learnt.inputs.is_anomaly
    assert (learnt.model(learnt.reference)[:, output] < 0.5).all()
    assert (learnt.model(learnt.inputs.x[anomalous])[:, output] > 0.5).float().mean() > 0.99
    assert learnt.mechanisms == []


@pytest.mark.parametrize(
    ("inputs", "widths", "sentence"),
    [(3, (9,), "3 wires are too few for 9 different gates"), (2, (1,) * 8, "2 inputs")],
)
def test_a_circuit_that_cannot_be_drawn_is_refused(inputs, widths, sentence):
    with pytest.raises(toys.ToyError, match=sentence):
        random_circuit(inputs, widths, 0)
