"""Between steps: parallel components merged, the dead buried, and what is left shared out."""

import math

import oracles
import pytest
import torch
from problems import make_problem, numbers, random_components

import apd
from apd import Components, Config
from apd.sites import Factors
from apd.training.settling import merge, parallel_pairs, settle
from apd.training.state import begin
from apd.training.train import train


def reference() -> torch.Tensor:
    return numbers(101)(150, 5)


def copy_of(components: Components) -> Components:
    return Components.of(
        {s: Factors(U.clone(), V.clone()) for s, (U, V) in components.factors.items()}
    )


@pytest.mark.parametrize("name", ["mlp-2", "tms-2", "matmul-3", "positions-1"])
def test_merging_gives_the_best_sum_of_low_rank_and_leaves_zero(name):
    problem = make_problem(name)
    components = copy_of(problem.components)
    weights = oracles.all_weights(problem)
    merge(components, 3, 1)
    for site, factors in components.factors.items():
        best = oracles.low_rank(weights[3][site] + weights[1][site], factors.U.shape[1])
        torch.testing.assert_close(components.component(3)[site], best)
        assert factors.U[1].count_nonzero() == factors.V[1].count_nonzero() == 0
    for c in (0, 2, 4):
        torch.testing.assert_close(components.component(c), weights[c])


def test_merging_a_parallel_component_of_rank_one_is_exact():
    components = copy_of(make_problem("mlp-1").components)
    for U, V in components.factors.values():
        U[2], V[2] = -2 * U[5], -1.5 * V[5]
    both = {site: 4 * weight for site, weight in components.component(5).items()}
    merge(components, 5, 2)
    torch.testing.assert_close(components.component(5), both)


def test_parallel_pairs_are_those_found_by_brute_force():
    problem = make_problem("mlp-2")
    components = random_components(problem.target, 13, 2, numbers(52))
    for U, V in components.factors.values():
        for c, (like, size, noise) in {
            4: (7, 1.5, 0.1),
            9: (7, 0.5, 0.2),
            1: (0, 0.9, 0.3),
            11: (3, -1.0, 0.0),
            6: (7, 0.0, 0.0),
        }.items():
            U[c] = size * U[like] + noise * U[2]
            V[c] = V[like] + noise * V[2]
    made = type(problem)(problem.module, problem.target, components, problem.x, problem.chosen)
    weights = oracles.all_weights(made)
    for cosine in (0.2, 0.6, 0.8, 0.95, 0.999):
        pairs = parallel_pairs(components, cosine)
        assert sorted(pairs) == sorted(oracles.parallel_pairs(weights, cosine))
        gone = [smaller for _, smaller in pairs]
        assert len(set(gone)) == len(gone)
        assert not set(gone) & {larger for larger, _ in pairs}
    found = parallel_pairs(components, 0.8)
    assert {(4, 7), (4, 9)} <= set(found)
    assert not any({3, 11} == set(pair) or 6 in pair for pair in found)


def settled(usage: list[float], active: float, cosine: float = 0.8) -> tuple:
    """Components 1 and 4 parallel, five steps into training, then settled.

    Nothing is worth a component of its own, so the dead stay zero.
    """
    before, training, steps, target = unsettled(usage)
    settle(training, target, cosine, dict.fromkeys(target.sites, 1e9), active, {})
    return before, training, steps


def unsettled(usage: list[float]) -> tuple:
    problem = make_problem("mlp-2")
    config = Config(components=7, active=1.0, rank=2, batch_size=16, steps=50)
    training = begin(problem.target, config)
    steps = train(problem.target, reference(), config, training)
    for _ in range(5):
        next(steps)
    for U, V in training.components.factors.values():
        U[4], V[4] = 0.5 * U[1], V[1]
    training.usage.copy_(torch.tensor(usage))
    return copy_of(training.components), training, steps, problem.target


def test_the_dead_hold_what_the_living_leave_by_singular_directions():
    _, training, _, target = unsettled([0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0])
    kept = copy_of(training.components)
    settle(training, target, 2.0, dict.fromkeys(target.sites, 0.0), 1.0, {})
    gaps = {
        site: target.weight(site) - kept.component(0)[site] - kept.component(1)[site]
        for site in target.sites
    }
    first, *_ = target.sites
    values = torch.linalg.svdvals(gaps[first])
    for j, c in enumerate([2, 3, 4, 5, 6]):
        own = training.components.component(c)
        assert torch.linalg.matrix_norm(own[first]).item() == pytest.approx(values[j].item())
        assert all(own[site].count_nonzero() == 0 for site in target.sites if site != first)
    best = values[5:].square().sum().sqrt()
    assert training.components.residual(target)[first].norm().item() == pytest.approx(best.item())


def test_what_is_too_small_for_a_component_is_given_to_none():
    _, training, _, target = unsettled([0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0])
    first, *_ = target.sites
    gap = target.weight(first) - sum(training.components.component(c)[first] for c in (0, 1))
    values = torch.linalg.svdvals(gap)
    sizes = dict.fromkeys(target.sites, 1e9) | {first: 4 * (values[1] + values[2]).item() / 2}
    settle(training, target, 2.0, sizes, 1.0, {})
    assert [is_zero(training.components, c) for c in range(7)] == [False] * 4 + [True] * 3


def is_zero(components: apd.Components, c: int) -> bool:
    return all(tensor[c].count_nonzero() == 0 for tensor in components.tensors())


def test_settling_merges_what_is_parallel_and_buries_the_dead():
    usage = [0.3, 0.2, 0.001, 0.3, 0.1, 0.0, 0.029]
    before, training, _ = settled(usage, active=2.1)  # dead below 0.1 * 2.1 / 7 = 0.03
    zero = [is_zero(training.components, c) for c in range(7)]
    assert zero == [False, False, True, False, True, True, True]
    for c in (0, 3):
        for site, weight in before.component(c).items():
            assert torch.equal(training.components.component(c)[site], weight)
    both = {site: 1.5 * weight for site, weight in before.component(1).items()}
    torch.testing.assert_close(training.components.component(1), both)
    assert math.isclose(training.usage[1].item(), 0.3, rel_tol=1e-6)
    assert training.usage[4] == 0


def test_a_survivor_counts_what_it_takes_in():
    """Two halves of one mechanism, each used too seldom by itself, live on as one."""
    usage = [0.3, 0.02, 0.3, 0.3, 0.02, 0.3, 0.3]
    _, training, _ = settled(usage, active=2.1)
    assert not is_zero(training.components, 1)
    assert is_zero(training.components, 4)


def test_below_the_cosine_nothing_is_merged():
    before, training, _ = settled([0.3] * 7, active=2.1, cosine=1.01)
    after = training.components.tensors()
    assert all(torch.equal(a, b) for a, b in zip(before.tensors(), after, strict=True))


def test_the_buried_stay_zero_while_training_goes_on():
    _, training, steps = settled([0.3, 0.2, 0.001, 0.3, 0.1, 0.0, 0.029], active=2.1)
    alive_before = training.components.component(0)["0.weight"].clone()
    for _ in range(10):
        next(steps)
    assert all(is_zero(training.components, c) for c in (2, 4, 5, 6))
    assert not torch.equal(training.components.component(0)["0.weight"], alive_before)
