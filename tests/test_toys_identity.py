"""The toy model of superposition with an identity layer in its middle."""

import pytest
import torch

import toys


@pytest.fixture(scope="module")
def toy() -> toys.Toy:
    return toys.make("tms-5-2-identity", seed=4)


@pytest.fixture(scope="module")
def plain() -> toys.Toy:
    return toys.make("tms-5-2", seed=4)


def test_it_computes_what_the_toy_without_the_identity_computes(toy, plain):
    assert torch.equal(toy.model.W, plain.model.W)
    assert torch.equal(toy.reference, plain.reference)
    torch.testing.assert_close(toy.model(toy.inputs.x), plain.model(toy.inputs.x))


def test_forward_is_the_formula():
    model = toys.TOYS["tms-40-10-identity"].architecture(0).requires_grad_(False)
    for parameter in model.parameters():
        parameter.normal_()
    x = torch.rand(7, 40)
    expected = torch.einsum("hj,hk,ki,ni->nj", model.W, model.H, model.W, x) + model.b
    torch.testing.assert_close(model(x), expected.clamp(min=0), rtol=1e-4, atol=1e-4)


def test_mechanisms_are_the_columns_and_the_whole_identity(toy, plain):
    *columns, identity = toy.mechanisms
    assert len(columns) == 5
    for column, theirs in zip(columns, plain.mechanisms, strict=True):
        assert column.keys() == {"W"}
        assert torch.equal(column["W"], theirs["W"])
    assert identity.keys() == {"H"}
    assert torch.equal(identity["H"], torch.eye(2))
    assert torch.equal(identity["H"], toy.model.H)


def test_the_identity_is_exercised_by_every_input_that_is_not_zero(toy):
    x = torch.tensor([[0.0, 0, 0, 0, 0], [0, 0.5, 0, 0, 0], [0.1, 0, 0, 0, 0.9]])
    assert toys.active(toy, x).tolist() == [
        [False, False, False, False, False, False],
        [False, True, False, False, False, True],
        [True, False, False, False, True, True],
    ]
