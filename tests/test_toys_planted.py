"""Planted mechanisms: never exercised by the reference, always by anomalies; input oracles."""

import pytest
import torch
from torch import Tensor

import toys
from toys.circuit import random_circuit

NAMES = ["tms-5-2", "tms-5-2-identity", "gated", "gated-2", "boolean"]


@pytest.fixture(scope="module", autouse=True)
def short():
    """Superposition that is not yet learnt has the same reference."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("toys.superposition.STEPS", 50)
        patch.setattr("toys.superposition.REPRESENTED", 0.0)
        yield


def make(name: str, seed: int) -> toys.Toy:
    return toys.make(name, seed, planted=True)


@pytest.fixture(scope="module", params=NAMES)
def toy(request) -> toys.Toy:
    return make(request.param, seed=7)


def exercised(toy: toys.Toy, x: Tensor) -> Tensor:
    """Whether an input exercises the planted mechanism, from what the toy is."""
    if toy.name.startswith("tms"):
        return x[:, 7 % 5] > 0
    if toy.name.startswith("gated"):
        return x[:, 1 + 7 % 4] == 1
    gates = random_circuit(16, (12, 8), 7).gates

    def value(wire: int) -> Tensor:
        if wire < 16:
            return x[:, wire] == 1
        a, b = map(value, gates[wire - 16].reads)
        return {"and": a & b, "or": a | b, "xor": a != b}[gates[wire - 16].kind]

    return value(16 + toy.planted)


def test_the_reference_never_exercises_it_and_anomalies_always_do(toy):
    assert not exercised(toy, toy.reference).any()
    assert torch.equal(exercised(toy, toy.inputs.x), toy.inputs.is_anomaly)
    assert toy.inputs.is_anomaly.sum() == 500
    assert len(toy.inputs) == 2_000
    assert len(toy.reference) == 50_000


def test_active_says_the_same(toy):
    for x in (toy.reference, toy.inputs.x):
        assert torch.equal(toys.active(toy, x)[:, toy.planted], exercised(toy, x))


def test_the_reference_exercises_every_other_mechanism(toy):
    rate = toys.active(toy, toy.reference).float().mean(0)
    others = torch.arange(len(rate)) != toy.planted
    assert len(rate) == len(toy.mechanisms)
    assert rate[others].min() > 0.01


@pytest.mark.parametrize("name", ["gated", "gated-2", "boolean"])
def test_without_the_mechanism_only_anomalies_change(name):
    """Where mechanisms share nothing, which is not so in superposition."""
    toy = make(name, seed=7)
    mechanism = toy.mechanisms[toy.planted]
    weights = {name: weight.clone() for name, weight in toy.model.state_dict().items()}
    before, before_trusted = toy.model(toy.inputs.x), toy.model(toy.reference)
    toy.model.load_state_dict(
        weights | {name: weights[name] - part for name, part in mechanism.items()}
    )
    changed = (toy.model(toy.inputs.x) != before).any(1)
    assert torch.equal(toy.model(toy.reference), before_trusted)
    toy.model.load_state_dict(weights)
    assert torch.equal(changed, toy.inputs.is_anomaly)


def test_kinds_say_whether_the_mechanism_has_company(toy):
    features = toys.active(toy, toy.inputs.x)
    features = features[:, :5] if toy.name == "tms-5-2-identity" else features
    count = features.sum(1).tolist()
    for kind, odd, size in zip(toy.inputs.kind, toy.inputs.is_anomaly, count, strict=True):
        assert kind == (("with others" if size > 1 else "alone") if odd else "clean")
    assert "with others" in toy.inputs.kind
    assert ("alone" in toy.inputs.kind) == (toy.name != "boolean"), "an AND needs gates before it"


def test_the_network_is_that_of_the_toy_whose_reference_exercises_everything(toy):
    whole = toys.make(toy.name, toy.seed)
    assert whole.planted is None
    assert not whole.inputs.is_anomaly.any()
    assert exercised(toy, whole.reference).any()
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(toy.model.state_dict()[name], weight)


def test_the_same_seed_gives_the_same_toy_and_another_seed_another(toy):
    again, other = make(toy.name, toy.seed), make(toy.name, toy.seed + 1)
    assert torch.equal(again.reference, toy.reference)
    assert torch.equal(again.inputs.x, toy.inputs.x)
    assert again.inputs.kind == toy.inputs.kind
    assert again.planted == toy.planted
    for name, weight in toy.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], weight)
    assert not torch.equal(other.reference, toy.reference)


@pytest.mark.parametrize(("name", "count"), [("tms-5-2", 5), ("gated", 4)])
def test_the_planted_mechanism_goes_round_with_the_seed(name, count):
    assert [make(name, seed).planted for seed in range(3)] == [0, 1, 2]
    assert make(name, count + 1).planted == 1
