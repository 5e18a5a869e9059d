"""Gated functions: how well the network approximates them, and whose weights are whose."""

import math

import pytest
import torch

import toys
from toys import gated


@pytest.fixture(params=["gated", "gated-2"])
def toy(request) -> toys.Toy:
    return toys.make(request.param, seed=6)


def expected(seed: int, x: torch.Tensor) -> torch.Tensor:
    """The sum of the functions whose bits are on, [n, 1]."""
    values = [
        p.a * torch.sin(p.b * x[:, 0] + p.c) + p.d * torch.cos(p.e * x[:, 0] + p.f) + p.g
        for p in gated.functions(seed)
    ]
    return (torch.stack(values, 1) * x[:, 1:]).sum(1, keepdim=True)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["gated", "gated-2"])
def test_each_function_is_met_to_the_bound_of_linear_interpolation(name, seed):
    """Between points h apart, |f - linear| <= h^2 / 8 max |f''|."""
    model = toys.make(name, seed).model
    grid = torch.linspace(0, 5, 301)
    for i, p in enumerate(gated.functions(seed)):
        x = torch.cat([grid[:, None], torch.eye(4)[i].expand(301, 4)], 1)
        bound = (5 / 9) ** 2 / 8 * (abs(p.a) * p.b**2 + abs(p.d) * p.e**2)
        assert (model(x) - expected(seed, x)).abs().max() < bound + 1e-4


def test_any_bits_give_the_sum_of_their_functions_and_none_gives_zero(toy):
    bits = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4)
    x = torch.cat([5 * torch.rand(16, 1, generator=torch.Generator().manual_seed(0)), bits], 1)
    assert toy.model(x).shape == (16, 1)
    assert (toy.model(x) - expected(toy.seed, x)).abs().max() < 4 * 0.08
    assert (toy.model(x[bits.sum(1) == 0]) == 0).all()


def test_functions_are_within_the_published_ranges():
    drawn = [p for seed in range(50) for p in gated.functions(seed)]
    for name, low, high in [
        *((name, -1, 1) for name in "adg"),
        *((name, 0.1, 1) for name in "be"),
        *((name, -math.pi, math.pi) for name in "cf"),
    ]:
        values = [getattr(p, name) for p in drawn]
        assert low <= min(values) < low + 0.1 * (high - low)
        assert high >= max(values) > high - 0.1 * (high - low)


def test_mechanisms_sum_to_the_weights_exactly_and_share_no_neuron(toy):
    assert len(toy.mechanisms) == 4
    for name, weight in toy.model.named_parameters():
        if weight.ndim == 2:
            parts = torch.stack([mechanism[name] for mechanism in toy.mechanisms])
            assert torch.equal(parts.sum(0), weight)
            neurons = parts.any(2 if name.endswith("W_in") else 1)
            assert (neurons.sum(0) <= 1).all()


def test_each_function_has_ten_neurons_that_read_x_and_its_bit_and_write_y(toy):
    for i, mechanism in enumerate(toy.mechanisms):
        W_in = torch.cat([part for name, part in mechanism.items() if name.endswith("W_in")])
        W_out = torch.cat([part for name, part in mechanism.items() if name.endswith("W_out")], 1)
        read, written = W_in.any(0), W_out.any(1)
        assert W_in.any(1).sum() == 10
        assert read.tolist() == [True, *(j == i for j in range(4)), False]
        assert written.tolist() == [False] * 5 + [True]


def test_the_functions_of_two_blocks_are_spread_over_both():
    toy = toys.make("gated-2", seed=6)
    assert [tuple(block.W_in.shape) for block in toy.model.blocks] == [(20, 6), (20, 6)]
    for mechanism in toy.mechanisms:
        assert all(part.any() for part in mechanism.values())


def test_a_mechanism_alone_computes_its_function(toy):
    grid = torch.linspace(0, 5, 11)[:, None]
    before = {name: weight.clone() for name, weight in toy.model.state_dict().items()}
    for i, mechanism in enumerate(toy.mechanisms):
        x = torch.cat([grid, torch.eye(4)[i].expand(11, 4)], 1)
        toy.model.load_state_dict(before)
        whole = toy.model(x)
        toy.model.load_state_dict(before | mechanism)
        assert torch.equal(toy.model(x), whole)
        others = {name: before[name] - part for name, part in mechanism.items()}
        toy.model.load_state_dict(before | others)
        assert (toy.model(x) == 0).all()


def test_inputs_are_a_number_and_rare_bits(toy):
    x = toy.reference
    assert x.shape == (50_000, 5)
    assert x[:, 0].min() >= 0
    assert 4.9 < x[:, 0].max() <= 5
    assert ((x[:, 1:] == 0) | (x[:, 1:] == 1)).all()
    assert x[:, 1:].mean(0).tolist() == pytest.approx([0.05] * 4, abs=0.005)
