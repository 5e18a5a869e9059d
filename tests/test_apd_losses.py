"""The losses, against loops over every weight, output, attribution and singular value."""

import math

import oracles
import pytest
import torch
from problems import make_problem, numbers

from apd import Components, Config
from apd.sites import Factors
from apd.training import losses
from apd.training.scales import scales_of

P = (0.5, 0.9, 1.0, 2.0)


def usage_of(problem):
    usage = torch.linspace(0.1, 0.9, problem.components.count, dtype=torch.float64)
    usage[3] = 0
    return usage


def test_faithfulness_is_the_mean_squared_gap_of_all_weights(problem):
    fast = losses.faithfulness(problem.components.residual(problem.target)).item()
    assert math.isclose(fast, oracles.faithfulness(problem), rel_tol=1e-10)


def test_faithfulness_without_gaps_is_zero():
    gaps = {"a": torch.zeros(3, 4), "b": torch.zeros(2, 5)}
    assert losses.faithfulness(gaps).item() == 0


def test_the_gradient_of_faithfulness_is_at_the_sum_of_the_components(problem):
    weight = torch.tensor(1.7, dtype=torch.float64)
    sums = {site: total.requires_grad_() for site, total in problem.components.sum().items()}
    gaps = {site: problem.target.weight(site) - total for site, total in sums.items()}
    slow = torch.autograd.grad(weight * losses.faithfulness(gaps), list(sums.values()))
    fast = losses.faithfulness_gradient({s: g.detach() for s, g in gaps.items()}, weight)
    for site, expected in zip(sums, slow, strict=True):
        torch.testing.assert_close(fast[site], expected, rtol=1e-12, atol=1e-14)


def test_output_losses_are_the_loops():
    outputs, masked = numbers(61)(9, 4), numbers(62)(9, 4)
    mse, kl = losses.output_mse(outputs, masked), losses.output_kl(outputs, masked)
    assert math.isclose(mse.item(), oracles.mse(outputs, masked), rel_tol=1e-12)
    assert math.isclose(kl.item(), oracles.kl(outputs, masked), rel_tol=1e-12)


def test_kl_is_from_the_target_to_the_masked_outputs():
    outputs, masked = numbers(61)(9, 4), numbers(62)(9, 4)
    forth, back = losses.output_kl(outputs, masked), losses.output_kl(masked, outputs)
    assert abs((forth - back).item()) > 1e-3
    assert abs(losses.output_kl(outputs, outputs + 5).item()) < 1e-12


@pytest.mark.of_parts
@pytest.mark.parametrize("p", P)
def test_simplicity_is_the_factor_bound(problem, p):
    usage = usage_of(problem)
    fast = losses.simplicity(losses.sizes(problem.components), usage, p).item()
    assert math.isclose(fast, oracles.factor_bound(problem, usage, p), rel_tol=1e-6)


@pytest.mark.of_parts
@pytest.mark.parametrize("p", [0.5, 0.9, 1.0])
def test_simplicity_bounds_the_schatten_norms(problem, p):
    usage = usage_of(problem)
    fast = losses.simplicity(losses.sizes(problem.components), usage, p).item()
    slow = oracles.schatten(problem, usage, p)
    rank = next(iter(problem.components.factors.values())).U.shape[1]
    if rank == 1:
        assert math.isclose(fast, slow, rel_tol=1e-6)
    else:
        assert fast > 1.001 * slow


@pytest.mark.parametrize("p", [0.5, 0.9, 1.0])
def test_the_bound_is_tight_for_orthogonal_factors(p):
    problem = make_problem("mlp-2")
    orthogonal = Components.of(
        {
            site: Factors(
                torch.linalg.qr(U.mT).Q.mT * torch.tensor([[3.0], [0.5]]).to(U),
                torch.linalg.qr(V.mT).Q.mT,
            )
            for site, (U, V) in problem.components.factors.items()
        }
    )
    made = type(problem)(problem.module, problem.target, orthogonal, problem.x, problem.chosen)
    usage = usage_of(problem)
    fast = losses.simplicity(losses.sizes(orthogonal), usage, p).item()
    assert math.isclose(fast, oracles.schatten(made, usage, p), rel_tol=1e-6)


@pytest.mark.of_parts
@pytest.mark.parametrize("p", P)
def test_the_gradient_of_simplicity_is_along_the_factors(problem, p):
    usage = usage_of(problem)
    for site, factors in problem.components.factors.items():
        leaves = Factors(*(tensor.clone().requires_grad_() for tensor in factors))
        own = losses.sizes(Components.of({site: leaves}))
        slow = torch.autograd.grad(losses.simplicity(own, usage, p), leaves)
        sizes = losses.sizes(Components.of({site: factors}))
        times = losses.simplicity_gradient(sizes, usage, p)[site]
        for tensor, by, expected in zip(factors, times, slow, strict=True):
            torch.testing.assert_close(by[..., None] * tensor, expected, rtol=1e-10, atol=1e-12)


def test_the_gradient_of_simplicity_is_finite_at_zero():
    """|x|^p has none at 0 for p < 1; a dead component must not turn everything into NaN."""
    dead = Factors(torch.zeros(2, 1, 3).double(), torch.zeros(2, 1, 4).double())
    sizes = losses.sizes(Components.of({"W": dead}))
    for by in losses.simplicity_gradient(sizes, torch.ones(2).double(), 0.5)["W"]:
        assert torch.equal(by, torch.zeros_like(by))


@pytest.mark.of_parts
def test_complexity_is_what_a_component_costs_the_simplicity_loss(problem):
    sizes, usage = losses.sizes(problem.components), usage_of(problem).requires_grad_()
    (slow,) = torch.autograd.grad(losses.simplicity(sizes, usage, 0.9), usage)
    torch.testing.assert_close(losses.complexity(sizes, 0.9), slow, rtol=1e-12, atol=0)


@pytest.mark.parametrize("p", P)
def test_attributions_are_means_of_powers(p):
    effects = numbers(63)(4, 9, 7)
    slow = [
        sum(math.sqrt(sum(e**2 for e in effects[:, n, c].tolist())) ** p for n in range(9)) / 9
        for c in range(7)
    ]
    assert losses.attribution_powers(effects, p).tolist() == pytest.approx(slow, rel=1e-9)


@pytest.mark.parametrize("p", P)
def test_the_gradient_of_attributions_is_that_of_their_weighted_sum(p):
    effects, weights = numbers(63)(4, 9, 7).requires_grad_(), numbers(64)(7)
    (slow,) = torch.autograd.grad((weights * losses.attribution_powers(effects, p)).sum(), effects)
    fast = losses.attribution_powers_gradient(effects.detach(), weights, p)
    torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-14)


def test_the_gradient_of_attributions_is_zero_where_nothing_is_attributed():
    fast = losses.attribution_powers_gradient(torch.zeros(4, 9, 7), torch.ones(7), 0.5)
    assert torch.equal(fast, torch.zeros(4, 9, 7))


def test_reconstruction_is_the_mean_over_places_of_the_scaled_error():
    own = {"a": numbers(65)(9, 4), "b": numbers(66)(9, 3, 5)}
    masked = {"b": numbers(67)(9, 3, 5), "c": numbers(68)(9, 2), "a": numbers(69)(9, 4)}
    scales = {"a": torch.tensor(2.0).double(), "b": torch.tensor(0.25).double()}
    errors = [oracles.mse(own[k].flatten(1), masked[k].flatten(1)) for k in ("a", "b")]
    slow = (errors[0] / 2 + errors[1] / 0.25) / 2
    assert losses.reconstruction(own, masked, scales).item() == pytest.approx(slow, rel=1e-12)


def test_reconstruction_of_nothing_is_zero_and_of_no_components_one():
    own = {"a": numbers(65)(9, 4)}
    assert losses.reconstruction({}, {"a": own["a"]}, {}).item() == 0
    zeros, scales = {"a": torch.zeros(9, 4).double()}, {"a": own["a"].square().mean()}
    assert losses.reconstruction(own, zeros, scales).item() == pytest.approx(1)


def test_scales_are_of_all_of_a_sorted_reference(monkeypatch):
    """Of its beginning alone, where nothing varies, there would be none."""
    monkeypatch.setattr("apd.training.scales.SAMPLE", 16)
    x = torch.cat([torch.zeros(50, 5).double(), numbers(3)(50, 5)])
    assert scales_of(make_problem("mlp-1").target, x, Config()).outputs > 0
