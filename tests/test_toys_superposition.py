"""The toy model of superposition: every feature kept, and one mechanism for each."""

import math

import pytest
import torch
from torch import Tensor

import toys
from toys import superposition
from toys.superposition import TMS, sample


@pytest.fixture(scope="module")
def small() -> toys.Toy:
    return toys.make("tms-5-2", seed=4)


@pytest.fixture(scope="module")
def large() -> toys.Toy:
    return toys.make("tms-40-10", seed=0)


@pytest.fixture(params=["small", "large"])
def toy(request) -> toys.Toy:
    return request.getfixturevalue(request.param)


def summed(mechanisms: list[dict[str, Tensor]]) -> Tensor:
    return torch.stack([mechanism["W"] for mechanism in mechanisms]).sum(0)


def test_five_features_in_a_plane_form_a_pentagon(small):
    W = small.model.W
    torch.testing.assert_close(W.norm(dim=0), torch.full((5,), 1.135), rtol=0, atol=0.02)
    angles = torch.atan2(W[1], W[0]).sort().values
    gaps = torch.cat([angles, angles[:1] + math.tau]).diff()
    torch.testing.assert_close(gaps, torch.full((5,), math.tau / 5), rtol=0, atol=0.02)


def test_forty_features_are_all_represented_in_ten_dimensions(large):
    norms = large.model.W.norm(dim=0)
    assert large.model.W.shape == (10, 40)
    assert norms.min() > 0.9
    assert norms.max() < 1.3


def test_forward_is_the_formula():
    model = TMS(5, 2).requires_grad_(False)
    model.b.normal_()
    x = torch.rand(7, 5)
    expected = torch.einsum("hj,hi,ni->nj", model.W, model.W, x) + model.b
    torch.testing.assert_close(model(x), expected.clamp(min=0))
    assert {name for name, _ in model.named_parameters()} == {"W", "b"}


def test_model_reconstructs_inputs_it_was_not_trained_on(toy):
    x = toy.inputs.x
    assert (toy.model(x) - x).square().mean() < 0.3 * x.square().mean()


def test_mechanisms_sum_to_the_weights_exactly(toy):
    assert len(toy.mechanisms) == toy.model.W.shape[1]
    assert torch.equal(summed(toy.mechanisms), toy.model.W)


def test_each_mechanism_is_one_column(toy):
    for j, mechanism in enumerate(toy.mechanisms):
        assert mechanism.keys() == {"W"}
        others = torch.arange(toy.model.W.shape[1]) != j
        assert torch.equal(mechanism["W"][:, j], toy.model.W[:, j])
        assert not mechanism["W"][:, others].any()


def test_a_features_own_mechanism_alone_reproduces_the_output_it_alone_causes(small):
    lone = TMS(5, 2).requires_grad_(False)
    lone.load_state_dict(small.model.state_dict())
    for j, one_hot in enumerate(torch.eye(5)[:, None]):
        lone.W.copy_(small.mechanisms[j]["W"])
        torch.testing.assert_close(
            lone(one_hot)[0, j], small.model(one_hot)[0, j], rtol=1e-6, atol=1e-6
        )
        lone.W.copy_(small.model.W - small.mechanisms[j]["W"])
        assert lone(one_hot)[0, j] == 0


def test_features_are_rarely_active_and_then_uniform():
    x = sample(6, 20_000, torch.Generator().manual_seed(0))
    active = x[x > 0]
    assert x.min() == 0
    assert x.max() <= 1
    assert len(active) / x.numel() == pytest.approx(0.05, abs=0.003)
    assert active.mean().item() == pytest.approx(1 / 2, abs=0.02)
    assert active.var().item() == pytest.approx(1 / 12, abs=0.005)


def test_reference_and_inputs_are_clean_and_different_samples(toy):
    features = toy.model.W.shape[1]
    assert toy.reference.shape == (50_000, features)
    assert toy.inputs.x.shape == (2_000, features)
    assert not torch.equal(toy.reference[:2_000], toy.inputs.x)
    assert set(toy.inputs.kind) == {"clean"}
    assert (toy.inputs.y == -1).all()
    assert not toy.inputs.is_anomaly.any()


def test_same_seed_gives_the_same_toy_and_leaves_the_callers_random_state(small):
    before = torch.random.get_rng_state()
    again = toys.make("tms-5-2", seed=small.seed)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(small.model.W, again.model.W)
    assert torch.equal(small.model.b, again.model.b)
    assert torch.equal(small.reference, again.reference)
    assert torch.equal(small.inputs.x, again.inputs.x)


def test_a_beginning_that_drops_a_feature_is_given_up_for_another(monkeypatch):
    fitted = []

    def fit(model: TMS, *_: object, **__: object) -> TMS:
        model.W.data[:] = 1.0
        model.W.data[:, 3] = float(len(fitted) >= 2)
        fitted.append(model)
        return model.requires_grad_(False)

    monkeypatch.setattr(superposition, "fit", fit)
    assert superposition.build(5, 2, seed=0).model is fitted[2]


def test_no_good_beginning_is_an_error(monkeypatch):
    monkeypatch.setattr(superposition, "fit", lambda model, *_, **__: model)
    monkeypatch.setattr(superposition, "REPRESENTED", 100.0)
    with pytest.raises(toys.ToyError, match="5 features in 2 dimensions"):
        superposition.build(5, 2, seed=0)
