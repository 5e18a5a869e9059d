"""Captured activations and masked passes, against the module run on explicit weights."""

import oracles
import pytest
import torch
from problems import make_problem, random_mask

from apd.hooks import capture, replace
from apd.train import masked_outputs

TOLERANCE = {"rtol": 1e-9, "atol": 1e-12}


def test_captured_outputs_are_the_modules(problem):
    outputs, _ = capture(problem.target, problem.x)
    torch.testing.assert_close(
        outputs.detach(), oracles.forward(problem.module, problem.x), **TOLERANCE
    )
    assert outputs.requires_grad


def test_every_use_of_every_site_is_captured_once(problem):
    _, captures = capture(problem.target, problem.x)
    captured = [capture.use for capture in captures]
    assert sorted(use.node for use in captured) == sorted(u.node for u in problem.target.uses)
    assert {use.site for use in captured} == set(problem.target.sites)


def test_captured_inputs_and_outputs_are_those_of_the_layers():
    problem = make_problem("mlp-1")
    seen = {}
    handles = [
        layer.register_forward_hook(
            lambda _, args, y, name=f"{k}.weight": seen.update({name: (args[0], y)})
        )
        for k, layer in enumerate(problem.module)
    ]
    problem.module(problem.x)
    for handle in handles:
        handle.remove()
    _, captures = capture(problem.target, problem.x)
    assert len(captures) == 3
    for found in captures:
        x, y = seen[found.use.site]
        torch.testing.assert_close(found.x, x.detach(), **TOLERANCE)
        torch.testing.assert_close(found.y.detach(), y.detach(), **TOLERANCE)


def test_masked_outputs_are_those_of_the_sum_of_the_active_components(problem):
    mask = random_mask(len(problem.x), problem.components.count)
    fast = masked_outputs(problem.target, problem.components, problem.x, mask)
    torch.testing.assert_close(fast, oracles.masked_outputs(problem, mask), **TOLERANCE)


def test_all_components_together_are_a_target_with_their_sum_as_weights(problem):
    every = torch.ones(len(problem.x), problem.components.count, dtype=torch.bool)
    fast = masked_outputs(problem.target, problem.components, problem.x, every)
    summed = problem.target.with_weights(problem.components.sum())
    torch.testing.assert_close(fast, summed(problem.x), **TOLERANCE)


def test_replacing_every_product_by_itself_changes_nothing(problem):
    def same(use, operand):
        W = problem.target.weight(use.site)
        return operand @ (W.T if operand.shape[-1] == W.shape[1] else W)

    replaced = replace(problem.target, problem.x, same)
    torch.testing.assert_close(replaced, problem.target(problem.x), **TOLERANCE)


def test_watching_and_replacing_leave_the_target_as_it_was(problem):
    before = problem.target.fingerprint
    _, captures = capture(problem.target, problem.x)
    mask = random_mask(len(problem.x), problem.components.count)
    masked_outputs(problem.target, problem.components, problem.x, mask)
    assert problem.target.fingerprint == before
    assert not any(tensor.requires_grad for tensor in problem.target.state.values())
    assert not problem.x.requires_grad
    assert not any(found.x.requires_grad for found in captures)


def test_masked_outputs_carry_gradients_to_the_factors():
    problem = make_problem("mlp-2")
    leaves = [tensor.clone().requires_grad_() for tensor in problem.components.tensors()]
    pairs = zip(leaves[::2], leaves[1::2], strict=True)
    factors = problem.components.factors
    components = type(problem.components)(
        {
            site: type(factors[site])(*pair)
            for site, pair in zip(problem.target.sites, pairs, strict=True)
        }
    )
    mask = random_mask(len(problem.x), components.count)
    mask[1] = False
    mask[:, 4] = False
    masked_outputs(problem.target, components, problem.x, mask).square().sum().backward()
    for leaf in leaves:
        used = leaf.grad.flatten(1).abs().sum(1) > 0
        assert not used[4]
        assert used[torch.arange(11) != 4].any()


def test_a_graph_without_gradients_can_be_captured_inside_no_grad():
    problem = make_problem("tms-1")
    with torch.no_grad():
        outputs, captures = capture(problem.target, problem.x)
    gradients = torch.autograd.grad(outputs.sum(), [found.y for found in captures])
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.parametrize("name", ["tms-1", "tms-2"])
def test_a_weight_used_twice_is_captured_twice(name):
    problem = make_problem(name)
    _, captures = capture(problem.target, problem.x)
    assert [found.x.shape[1] for found in captures] == [6, 3]
    assert {found.use.site for found in captures} == {"W"}
