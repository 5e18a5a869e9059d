"""What the active components leave out, and what removing inactive ones does."""

import math

import oracles
import pytest
import torch
import torch.nn.functional as F
from problems import Formula, numbers, random_mask

from apd import Components, Config, Target, decompose, recovery
from apd.recovery.scrubbing import removal_slopes
from apd.sites import Factors

TOLERANCE = {"rtol": 1e-9, "atol": 1e-12}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def mask(problem):
    return random_mask(len(problem.x), problem.components.count)


def test_losses_without_components_are_those_of_each_input_run_alone(problem, mask):
    """The first input loses nothing, the second everything."""
    fast = recovery.losses_without(problem.target, problem.components, problem.x, mask)
    gaps = oracles.outputs_without(problem, mask) - oracles.forward(problem.module, problem.x)
    torch.testing.assert_close(fast, gaps.square().mean(1), **TOLERANCE)
    assert fast[0] < 1e-20 < fast[1]


def test_sparse_losses_are_those_of_the_active_components_alone(problem, mask):
    fast = recovery.sparse_losses(problem.target, problem.components, problem.x, mask)
    outputs = oracles.forward(problem.module, problem.x)
    gaps = oracles.masked_outputs(problem, mask) - outputs
    torch.testing.assert_close(fast, gaps.square().mean(1), **TOLERANCE)
    variance = torch.stack([(y - y.mean()).square().mean() for y in outputs.T]).mean().item()
    found = recovery.sparse_error(problem.target, problem.components, problem.x, mask)
    assert math.isclose(found, gaps.square().mean().item() / variance, rel_tol=1e-9)


def test_faithfulness_is_the_residual_over_the_weights(problem):
    found = recovery.faithfulness(problem.target, problem.components)
    missing, whole = 0.0, 0.0
    for site in problem.target.sites:
        weight = problem.target.weight(site)
        gap = weight - sum(component[site] for component in oracles.all_weights(problem))
        assert math.isclose(found.sites[site], (gap.norm() / weight.norm()).item(), rel_tol=1e-9)
        missing += gap.square().sum().item()
        whole += weight.square().sum().item()
    assert math.isclose(found.overall, math.sqrt(missing / whole), rel_tol=1e-9)


def test_of_weights_that_are_zero_nothing_is_missing(problem):
    site, *others = problem.target.sites
    target = problem.target.with_weights({site: torch.zeros_like(problem.target.weight(site))})
    none = Components.of(
        {name: Factors(0 * u, v) for name, (u, v) in problem.components.factors.items()}
    )
    found = recovery.faithfulness(target, none)
    assert found.sites == {site: 0.0} | dict.fromkeys(others, 1.0)
    assert not none.norm_shares(target)[site].any()


def test_the_error_of_one_input_is_beyond_measure(problem, mask):
    """Its outputs do not vary."""
    one = recovery.sparse_error(problem.target, problem.components, problem.x[1:2], mask[1:2])
    assert one > 1e30


def test_weights_that_only_switch_have_no_slope():
    draw = numbers(8)
    weights = {"A": draw(3, 4), "B": draw(3, 4)}
    module = Formula(lambda net, x: (x @ net.A.T) * ((x @ net.B.T) > 0), **weights)
    run = decompose(module, draw(90, 4), Config(components=5, steps=20, batch_size=16))
    removed = random_mask(6, run.components.count)
    slopes = removal_slopes(run.target, run.components, draw(6, 4), removed)
    run.components.factors["B"].U.zero_()
    alone = removal_slopes(run.target, run.components, draw(6, 4), removed & False)
    assert torch.isfinite(slopes).all()
    assert slopes.any()
    assert not alone.any()


def test_slopes_are_the_derivatives_of_the_squared_error(problem, mask):
    amounts = mask.double().requires_grad_()
    gaps = oracles.outputs_without(problem, amounts) - oracles.forward(problem.module, problem.x)
    (slow,) = torch.autograd.grad(gaps.square().sum(), amounts)
    fast = removal_slopes(problem.target, problem.components, problem.x, mask)
    torch.testing.assert_close(fast, slow, **TOLERANCE)
    assert fast[0].abs().max() < 1e-9


@pytest.mark.parametrize("k", [1, 3])
def test_the_hardest_are_the_inactive_ones_of_greatest_slope(problem, mask, k):
    active = random_mask(len(problem.x), problem.components.count).flip(0, 1)
    chosen = recovery.hardest(problem.target, problem.components, problem.x, active, mask, k)
    slopes = removal_slopes(problem.target, problem.components, problem.x, mask).tolist()
    assert not (chosen & active).any()
    for n, row in enumerate(chosen.tolist()):
        inactive = [c for c in range(problem.components.count) if not active[n, c]]
        greatest = sorted((slopes[n][c] for c in inactive), reverse=True)[:k]
        found = sorted((slopes[n][c] for c in inactive if row[c]), reverse=True)
        assert found == pytest.approx(greatest, rel=1e-9, abs=1e-9)


def test_as_many_as_there_are_inactive_can_be_removed(problem):
    active = random_mask(len(problem.x), problem.components.count)
    args = (problem.target, problem.components, problem.x, active)
    assert torch.equal(recovery.hardest(*args, torch.zeros_like(active), 10_000), ~active)


def test_a_random_half_is_half_and_only_of_what_is_named():
    named = torch.zeros(300, 40, dtype=torch.bool)
    named[:, :30] = True
    found = recovery.random_half(named, seeded())
    assert not (found & ~named).any()
    assert abs(found[:, :30].double().mean() - 0.5) < 0.02
    assert found[:, :30].double().mean(0).min() > 0.35
    assert torch.equal(found, recovery.random_half(named, seeded()))
    assert not torch.equal(found, recovery.random_half(named, seeded(1)))


def test_a_scrub_is_the_four_losses(problem):
    active = random_mask(len(problem.x), problem.components.count)
    args = (problem.target, problem.components, problem.x)
    found = recovery.scrub(*args, active, 2, seeded())
    half = recovery.random_half(~active, seeded())
    worst = recovery.hardest(*args, active, half, 2)
    for fast, removed in (
        (found.scrubbed, half),
        (found.anti_scrubbed, half | active),
        (found.adversarial, worst),
    ):
        assert torch.equal(fast, recovery.losses_without(*args, removed))
    assert torch.equal(found.sparse, recovery.sparse_losses(*args, active))


def test_exact_mechanisms_survive_scrubbing_and_do_not_survive_its_opposite():
    """Three inputs, each with neurons of its own: what an input does not exercise can go."""
    draw = numbers(95)
    owner = torch.arange(7) % 3
    own = torch.eye(3, dtype=torch.float64)[:, owner]
    module = Formula(
        lambda net, x: F.gelu(x @ net.first) @ net.second, first=own * draw(3, 7), second=draw(7, 4)
    )
    mechanisms = [
        {
            "first": module.first.detach() * (owner == k),
            "second": module.second.detach() * (owner == k)[:, None],
        }
        for k in range(3)
    ]
    x = torch.cat([torch.eye(3, dtype=torch.float64), torch.tensor([[0.5, -2.0, 0.0]])])
    target = Target.of(module, x)
    found = recovery.scrub(target, oracles.whole(mechanisms), x, x != 0, 2, seeded())
    for harmless in (found.sparse, found.scrubbed, found.adversarial):
        torch.testing.assert_close(harmless, torch.zeros(4, dtype=torch.float64))
    torch.testing.assert_close(found.anti_scrubbed, target(x).square().mean(1), **TOLERANCE)


def test_scrubbing_a_trained_decomposition_tells_the_active_from_the_inactive(tms):
    x = tms.toy.inputs.x
    active = recovery.active_components(tms.run, x)
    found = recovery.scrub(tms.run.target, tms.run.components, x, active, 3, seeded())
    for harmless in (found.scrubbed, found.adversarial):
        assert harmless.mean() < 0.01 * found.anti_scrubbed.mean()
    assert recovery.sparse_error(tms.run.target, tms.run.components, x, active) < 0.01
