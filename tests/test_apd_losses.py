"""The three losses, against loops over every weight, output and singular value."""

import math

import oracles
import pytest
import torch
from problems import make_problem, numbers

from apd import Components, losses
from apd.sites import Factors

P = (0.5, 0.9, 1.0, 2.0)


def usage_of(problem):
    usage = torch.linspace(0.1, 0.9, problem.components.count, dtype=torch.float64)
    usage[3] = 0
    return usage


def test_faithfulness_is_the_mean_squared_gap_of_all_weights(problem):
    weights = {site: problem.target.weight(site) for site in problem.target.sites}
    fast = losses.faithfulness(problem.components, weights).item()
    assert math.isclose(fast, oracles.faithfulness(problem), rel_tol=1e-10)


def test_faithfulness_of_components_that_add_up_is_zero(problem):
    assert losses.faithfulness(problem.components, problem.components.sum()).item() == 0


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


@pytest.mark.parametrize("p", P)
def test_simplicity_is_the_factor_bound(problem, p):
    usage = usage_of(problem)
    fast = losses.simplicity(problem.components, usage, p).item()
    assert math.isclose(fast, oracles.factor_bound(problem, usage, p), rel_tol=1e-6)


@pytest.mark.parametrize("p", [0.5, 0.9, 1.0])
def test_simplicity_bounds_the_schatten_norms(problem, p):
    usage = usage_of(problem)
    fast = losses.simplicity(problem.components, usage, p).item()
    slow = oracles.schatten(problem, usage, p)
    rank = next(iter(problem.components.factors.values())).U.shape[1]
    if rank == 1:
        assert math.isclose(fast, slow, rel_tol=1e-6)
    else:
        assert fast > 1.001 * slow


@pytest.mark.parametrize("p", [0.5, 0.9, 1.0])
def test_the_bound_is_tight_for_orthogonal_factors(p):
    problem = make_problem("mlp-2")
    orthogonal = Components(
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
    fast = losses.simplicity(orthogonal, usage, p).item()
    assert math.isclose(fast, oracles.schatten(made, usage, p), rel_tol=1e-6)


def test_simplicity_has_a_gradient_at_zero():
    """|x|^p has none at 0 for p < 1; a dead component must not turn everything into NaN."""
    U = torch.zeros(2, 1, 3, dtype=torch.float64, requires_grad=True)
    V = torch.zeros(2, 1, 4, dtype=torch.float64, requires_grad=True)
    usage = torch.ones(2, dtype=torch.float64)
    losses.simplicity(Components({"W": Factors(U, V)}), usage, 0.5).backward()
    assert torch.equal(U.grad, torch.zeros_like(U))
    assert torch.equal(V.grad, torch.zeros_like(V))
