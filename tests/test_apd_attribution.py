"""Attributions equal derivatives along every component, taken one input at a time."""

from functools import cache

import oracles
import pytest
import torch
from problems import NAMES, Formula, make_problem, numbers, random_components
from torch import Tensor
from torch.nn.functional import linear

from apd import Target, output_gradients
from apd import effects as effects_of_uses
from apd.attribution import positional_attributions, rms_attributions, signed_attributions
from apd.hooks import capture

effects = cache(lambda name: oracles.effects(make_problem(name)))
TOLERANCE = {"rtol": 1e-9, "atol": 1e-12}


@pytest.fixture(params=["parts", "weights"])
def way(request, monkeypatch):
    """Whichever is cheaper, both are to be right."""
    choice = request.param == "weights"
    monkeypatch.setattr(effects_of_uses, "effects_through_weights", lambda *_: choice)


def rms(problem) -> Tensor:
    return rms_attributions(*capture(problem.target, problem.x), problem.components)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", NAMES)
def test_signed_attributions_are_derivatives(name):
    problem = make_problem(name)
    fast = signed_attributions(
        *capture(problem.target, problem.x), problem.components, problem.chosen
    )
    rows = range(len(problem.x))
    slow = torch.stack([effects(name)[n, :, :, problem.chosen[n]] for n in rows])
    assert fast.shape == (len(problem.x), len(problem.target.sites), problem.components.count)
    torch.testing.assert_close(fast, slow, **TOLERANCE)


@pytest.mark.parametrize("name", NAMES)
def test_positions_and_uses_add_up_to_the_whole_effect(name):
    problem = make_problem(name)
    seen = capture(problem.target, problem.x)
    found = positional_attributions(*seen, problem.components, problem.chosen)
    whole = sum(part.flatten(1, -2).sum(1) if part.ndim > 2 else part for part in found.values())
    slow = torch.stack([effects(name)[n, :, :, o].sum(0) for n, o in enumerate(problem.chosen)])
    torch.testing.assert_close(whole, slow, **TOLERANCE)
    of_uses = {tuple(use.x.shape[1:-1]) for use in capture(problem.target, problem.x)[1]}
    assert set(found) == of_uses


def test_the_effect_at_a_position_is_the_derivative_along_a_component_there_alone():
    """As if every position had a weight of its own, which are all the same."""
    draw = numbers(23)
    W, last = draw(8, 4), draw(7, 8)

    def outputs(x: Tensor, own: Tensor) -> Tensor:
        h = torch.stack([linear(x[:, p], own[p]) for p in range(6)], 1)
        return linear(h.tanh().prod(1), last)

    x, chosen = draw(5, 6, 4), torch.arange(5) % 7
    module = Formula(
        lambda net, x: linear(linear(x, net.W).tanh().prod(1), net.last), W=W, last=last
    )
    target = Target.of(module, x)
    components = random_components(target, 9, 2, draw)
    found = positional_attributions(*capture(target, x), components, chosen)
    assert set(found) == {(6,), ()}
    own = W.repeat(6, 1, 1)
    for p in range(6):
        for c in range(9):
            along = torch.zeros_like(own)
            along[p] = components.component(c)["W"]
            slow = oracles.derivative(lambda own: outputs(x, own), own, along)
            expected = slow.gather(1, chosen[:, None]).squeeze(1)
            torch.testing.assert_close(found[(6,)][:, p, c], expected, **TOLERANCE)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", NAMES)
def test_rms_attributions_sum_sites_before_squaring(name):
    slow = oracles.rms_over_outputs(effects(name).sum(1))
    torch.testing.assert_close(rms(make_problem(name)), slow, **TOLERANCE)


@pytest.mark.usefixtures("way")
def test_any_number_of_outputs_at_a_time_gives_the_same(problem, monkeypatch):
    whole = rms(problem)
    for at_once in (1, 3000):
        monkeypatch.setattr(output_gradients, "NUMBERS_AT_ONCE", at_once)
        torch.testing.assert_close(rms(problem), whole, **TOLERANCE)


@pytest.mark.usefixtures("way")
def test_an_input_alone_has_the_attributions_it_has_in_a_batch(problem):
    alone = torch.cat(
        [
            rms_attributions(*capture(problem.target, row[None]), problem.components)
            for row in problem.x
        ]
    )
    torch.testing.assert_close(rms(problem), alone, **TOLERANCE)


def test_attributions_to_a_linear_map_add_up_to_its_output():
    draw = numbers(21)
    module, x = Formula(lambda net, x: linear(x, net.W), W=draw(4, 6)), draw(9, 6)
    components = random_components(Target.of(module, x), 7, 2, draw)
    target = Target.of(Formula(module.formula, W=components.sum()["W"]), x)
    chosen = torch.arange(9) % 4
    parts = signed_attributions(*capture(target, x), components, chosen)
    outputs = target(x).gather(1, chosen[:, None]).squeeze(1)
    torch.testing.assert_close(parts.sum((1, 2)), outputs, **TOLERANCE)


def test_parameters_tied_under_two_names_count_with_all_their_uses():
    """One weight in two modules is one site, and both modules apply it."""
    draw = numbers(22)
    net = torch.nn.Sequential(
        torch.nn.Linear(5, 5), torch.nn.Tanh(), torch.nn.Linear(5, 5)
    ).double()
    net[2].weight = net[0].weight
    x = draw(9, 5)
    target = Target.of(net, x)
    (site,) = target.sites.values()
    assert len(site.uses) == 2
    components = random_components(target, 7, 2, draw)
    fast = signed_attributions(*capture(target, x), components, torch.zeros(9, dtype=torch.int64))
    step = 1e-6
    W = net[0].weight.detach().clone()
    for c in range(7):
        moved = []
        for sign in (1, -1):
            with torch.no_grad():
                net[0].weight.copy_(W + sign * step * components.component(c)[site.name])
            moved.append(oracles.forward(net, x)[:, 0])
        slow = (moved[0] - moved[1]) / (2 * step)
        torch.testing.assert_close(fast[:, 0, c], slow, rtol=1e-6, atol=1e-7)
