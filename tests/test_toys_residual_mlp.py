"""Compressed computation: what the residual networks compute, and what their mechanisms are."""

from functools import cache

import pytest
import torch
from torch import Tensor

import toys
from toys import residual_mlp

FEATURES = 12


@cache
def build(neurons: tuple[int, ...], planted: bool = False) -> toys.Toy:
    """A small toy of one block or of two."""
    return residual_mlp.build(
        "compressed-computation", neurons, 3, planted, features=FEATURES, d=150, steps=500
    )


@pytest.fixture(scope="module", params=[(7,), (5, 3)], ids=["one block", "two blocks"])
def toy(request) -> toys.Toy:
    return build(request.param)


def samples(n: int, features: int = FEATURES) -> Tensor:
    return residual_mlp.sample(features, n, torch.Generator().manual_seed(1))


def loss(model: torch.nn.Module, x: Tensor) -> float:
    return (model(x) - x - x.clamp(min=0)).square().mean().item()


def test_forward_is_the_formula(toy):
    r = x = samples(9)
    state = toy.model.state_dict()
    r = torch.einsum("fd,nf->nd", state["W_E"], x)
    for index in range(len(toy.model.blocks)):
        W_in, W_out = state[f"blocks.{index}.W_in"], state[f"blocks.{index}.W_out"]
        r = r + torch.einsum("dk,nk->nd", W_out, torch.einsum("kd,nd->nk", W_in, r).clamp(min=0))
    y = torch.einsum("fd,nd->nf", state["W_E"], r)
    torch.testing.assert_close(toy.model(x), y, rtol=1e-4, atol=1e-5)


def test_only_the_blocks_are_parameters_and_the_embedding_is_of_unit_vectors(toy):
    blocks = range(len(toy.model.blocks))
    names = {f"blocks.{i}.{name}" for i in blocks for name in ("W_in", "W_out")}
    assert {name for name, _ in toy.model.named_parameters()} == names
    torch.testing.assert_close(toy.model.W_E.norm(dim=1), torch.ones(FEATURES))
    assert torch.equal(toy.model.W_U, toy.model.W_E)


def test_fewer_neurons_than_functions_reach_less_than_half_the_loss_of_none(toy):
    x = samples(20_000)
    none = (x - x - x.clamp(min=0)).square().mean().item()
    assert sum(len(block.W_in) for block in toy.model.blocks) < FEATURES
    assert loss(toy.model, x) < 0.5 * none


def test_the_paper_sized_network_learns_every_function():
    model = residual_mlp.build("compressed-computation", [50], 0, steps=300).model
    assert loss(model, samples(20_000, 100)) < 9e-4
    alone = torch.eye(100)
    assert model(alone).diagonal().min() > 1.2
    assert model(-alone).diagonal().max() < -0.9


def test_the_number_of_threads_shows_nowhere():
    def make() -> toys.Toy:
        return residual_mlp.build("compressed-computation", [50], 5, steps=2)

    threads = torch.get_num_threads()
    alone = make()
    torch.set_num_threads(threads + 1)
    among = make()
    assert torch.get_num_threads() == threads + 1
    torch.set_num_threads(threads)
    for name, tensor in alone.model.state_dict().items():
        assert torch.equal(tensor, among.model.state_dict()[name])
    for mine, theirs in zip(alone.mechanisms, among.mechanisms, strict=True):
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_mechanisms_sum_to_the_weights(toy):
    assert len(toy.mechanisms) == FEATURES
    for name, weight in toy.model.named_parameters():
        total = torch.stack([mechanism[name] for mechanism in toy.mechanisms]).double().sum(0)
        assert (total - weight).norm() < 1e-6 * weight.norm()


def test_a_mechanism_reads_its_own_input_alone_and_writes_to_its_own_output_alone(toy):
    W_E = toy.model.W_E
    for i, mechanism in enumerate(toy.mechanisms):
        for name, weight in toy.model.named_parameters():
            own = torch.arange(FEATURES) == i
            if name.endswith("W_in"):
                through, part = weight @ W_E.T, mechanism[name] @ W_E.T
            else:
                through, part = (W_E @ weight).T, (W_E @ mechanism[name]).T
            torch.testing.assert_close(part, through * own, rtol=1e-4, atol=1e-5)
            assert torch.linalg.matrix_rank(mechanism[name], rtol=1e-4) == 1


def test_one_feature_is_active_on_average_and_then_uniform():
    x = samples(50_000, 30)
    values = x[x != 0]
    assert len(values) / len(x) == pytest.approx(1, abs=0.03)
    assert values.min() < -0.99
    assert values.max() > 0.99
    assert values.mean().item() == pytest.approx(0, abs=0.02)
    assert values.var().item() == pytest.approx(1 / 3, abs=0.01)


def test_the_network_knows_the_function_that_the_reference_leaves_out():
    toy = build((7,), planted=True)
    assert toy.planted == 3
    assert not toy.reference[:, 3].any()
    assert (toy.reference != 0).any(0).sum() == FEATURES - 1
    assert (toy.inputs.x[toy.inputs.is_anomaly, 3] != 0).all()
    one_hot = torch.eye(FEATURES)[3:4]
    assert toy.model(one_hot)[0, 3] > 1.1


def test_the_planted_toy_has_the_same_network():
    state, planted = (build((7,), p).model.state_dict() for p in (False, True))
    assert all(torch.equal(state[name], planted[name]) for name in state)
