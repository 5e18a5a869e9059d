"""Components: everything computed from factors, against the weights formed explicitly."""

import math

import oracles
import pytest
import torch
from problems import make_problem, numbers

from apd import Components
from apd.components import initialise, singular_values
from apd.sites import Factors


def copy_of(components: Components) -> Components:
    return Components.of(
        {s: Factors(U.clone(), V.clone()) for s, (U, V) in components.factors.items()}
    )


def test_component_and_sum_are_the_explicit_weights(problem):
    weights = oracles.all_weights(problem)
    assert problem.components.count == len(weights)
    for c, expected in enumerate(weights):
        torch.testing.assert_close(problem.components.component(c), expected)
    for site, total in problem.components.sum().items():
        torch.testing.assert_close(total, sum(component[site] for component in weights))


def test_a_mixture_is_the_sum_by_shares(problem):
    weights = oracles.all_weights(problem)
    shares = torch.rand(len(weights), dtype=torch.float64)
    for site, mixture in problem.components.mixture(shares).items():
        expected = sum(s * w[site] for s, w in zip(shares.tolist(), weights, strict=True))
        torch.testing.assert_close(mixture, expected)


def test_residual_and_components_add_up_to_the_weights(problem):
    residual, total = problem.components.residual(problem.target), problem.components.sum()
    parameters = dict(problem.module.named_parameters())
    assert list(residual) == list(problem.target.sites)
    for site in residual:
        matrix = parameters[site].detach().flatten(1)
        torch.testing.assert_close(residual[site] + total[site], matrix)


def test_tensors_are_the_factors_u_before_v(problem):
    tensors = problem.components.tensors()
    assert len(tensors) == 2 * len(problem.target.sites)
    for k, (U, V) in enumerate(problem.components.factors.values()):
        assert tensors[2 * k] is U
        assert tensors[2 * k + 1] is V


def test_inner_products_are_those_of_the_weights(problem):
    weights = oracles.all_weights(problem)
    slow = [[oracles.inner_product(a, b) for b in weights] for a in weights]
    torch.testing.assert_close(
        problem.components.inner_products(), torch.tensor(slow, dtype=torch.float64)
    )


def test_norm_shares_are_norms_of_the_weights_over_the_target_s(problem):
    weights = oracles.all_weights(problem)
    parameters = dict(problem.module.named_parameters())
    for site, shares in problem.components.norm_shares(problem.target).items():
        whole = parameters[site].detach().norm()
        slow = torch.stack([weight[site].norm() / whole for weight in weights])
        torch.testing.assert_close(shares, slow)


@pytest.mark.of_parts
def test_singular_values_are_those_of_the_weights(problem):
    weights = oracles.all_weights(problem)
    for site, factors in problem.components.factors.items():
        rank = factors.U.shape[1]
        slow = torch.stack([torch.linalg.svdvals(weight[site])[:rank] for weight in weights])
        torch.testing.assert_close(singular_values(factors), slow)


def test_more_factors_than_dimensions_have_zero_singular_values_left_over():
    draw = numbers(51)
    factors = Factors(draw(5, 4, 2), draw(5, 4, 3))
    values = singular_values(factors)
    slow = torch.stack([torch.linalg.svdvals(factors.U[c].T @ factors.V[c]) for c in range(5)])
    torch.testing.assert_close(values[:, :2], slow)
    assert torch.equal(values[:, 2:], torch.zeros(5, 2, dtype=torch.float64))


def test_ranks_count_singular_values_above_a_share_of_the_sites_largest(problem):
    components = copy_of(problem.components)
    for U, V in components.factors.values():
        U[0], V[0] = 0, 0
        U[1] *= 1e-3
        U[2, -1] *= 1e-9
    shrunk = type(problem)(problem.module, problem.target, components, problem.x, problem.chosen)
    for tolerance in (1e-2, 0.3):
        slow = []
        spectra = {
            site: [torch.linalg.svdvals(w[site]) for w in oracles.all_weights(shrunk)]
            for site in problem.target.sites
        }
        for c in range(components.count):
            slow.append(
                sum(
                    (spectrum[c] > tolerance * max(s.max() for s in spectrum)).sum().item()
                    for spectrum in spectra.values()
                )
            )
        assert components.ranks(tolerance).tolist() == slow
    assert components.ranks()[:2].tolist() == [0, 0]


@pytest.mark.parametrize("rank", [1, 3])
def test_initial_components_add_up_to_about_the_weights_norm(rank):
    problem = make_problem("mlp-1")
    ratios = []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        components = initialise(problem.target, 17, rank, generator)
        for site, total in components.sum().items():
            ratios.append((total.norm() / problem.target.weight(site).norm()).item())
    assert math.isclose(sum(r * r for r in ratios) / len(ratios), 1, abs_tol=0.15)


def test_initial_components_have_the_asked_shape_and_the_weights_type():
    target = make_problem("mlp-1").target
    components = initialise(target, 17, 5, torch.Generator().manual_seed(0))
    shapes = {site: (f.U.shape, f.V.shape) for site, f in components.factors.items()}
    assert shapes == {
        "0.weight": ((17, 5, 7), (17, 5, 5)),
        "2.weight": ((17, 5, 6), (17, 5, 7)),
        "4.weight": ((17, 4, 4), (17, 4, 6)),  # the rank is capped by the matrix's own
    }
    assert all(tensor.dtype == torch.float64 for tensor in components.tensors())


def test_initial_components_are_fixed_by_the_seed():
    target = make_problem("mlp-1").target
    first, again, other = (
        initialise(target, 17, 2, torch.Generator().manual_seed(seed)).tensors()
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
