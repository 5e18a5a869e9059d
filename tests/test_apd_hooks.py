"""Captured and replaced calls, against the module's own layers."""

import oracles
import pytest
import torch
from problems import make_problem

from apd.hooks import add, capture, replace

TOLERANCE = {"rtol": 1e-9, "atol": 1e-12}


def product_of(problem):
    """What a use computes, from the weight itself."""

    def product(use, operand):
        W = problem.target.weight(use.site)
        return use.apply(operand, W.expand(len(operand), -1, -1))

    return product


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


def test_replacing_every_product_by_itself_changes_nothing(problem):
    replaced = replace(problem.target, problem.x, product_of(problem))
    torch.testing.assert_close(replaced, problem.target(problem.x), **TOLERANCE)


def test_what_is_added_to_products_is_added_to_the_weights(problem):
    """Three quarters of every product, added to it, are those of 1.75 W; biases are not seen."""
    product, target = product_of(problem), problem.target
    outputs, seen = add(target, problem.x, lambda use, x: 0.75 * product(use, x))
    larger = target.with_weights({site: 1.75 * target.weight(site) for site in target.sites})
    torch.testing.assert_close(outputs, larger(problem.x), **TOLERANCE)
    assert {found.use.node for found in seen} == {use.node for use in target.uses}
    for found in seen:
        torch.testing.assert_close(found.y, 1.75 * product(found.use, found.x), **TOLERANCE)


def test_watching_and_replacing_leave_the_target_as_it_was(problem):
    before = problem.target.fingerprint
    _, captures = capture(problem.target, problem.x)
    replace(problem.target, problem.x, product_of(problem))
    assert problem.target.fingerprint == before
    assert not any(tensor.requires_grad for tensor in problem.target.state.values())
    assert not problem.x.requires_grad
    assert not any(found.x.requires_grad for found in captures)


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
