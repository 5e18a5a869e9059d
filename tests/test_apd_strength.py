"""Every way to work out strengths, against derivatives along every component."""

from functools import cache

import oracles
import pytest
import torch
from problems import NAMES, Formula, make_problem, numbers, random_components
from torch import nn
from torch.nn.functional import linear, relu

from apd import Target
from apd.hooks import capture
from apd.output_gradients import DIRECTIONS, fixed_directions
from apd.strength import Backward, Forward, Projected, row_strengths, strength_of
from apd.strength.affine import nonlinear_calls, stages
from apd.strength.forward import columns
from apd.strength.maps import Linear

TOLERANCE = {"rtol": 1e-9, "atol": 1e-12}
OF_VECTORS = [name for name in NAMES if name.startswith(("mlp", "partial", "tms", "matmul"))]


@cache
def exact(name: str) -> torch.Tensor:
    return oracles.rms_over_outputs(oracles.effects(make_problem(name)).sum(1))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def forward(target: Target, row: torch.Tensor) -> Forward:
    places = stages(target, row)
    assert places is not None
    return Forward(target, places)


class Residual(nn.Module):
    """Two blocks on a stream that every one of them reads and adds to, gated by a constant."""

    def __init__(self, draw):
        super().__init__()
        shapes = {"in_1": (3, 6), "out_1": (6, 3), "in_2": (4, 6), "out_2": (6, 4), "head": (5, 6)}
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(0.5 * draw(*shape)))
        self.register_buffer("gate", draw(6))

    def forward(self, x):
        x = x + linear(relu(linear(x, self.in_1)), self.out_1) * self.gate
        x = x - linear(torch.tanh(linear(x, self.in_2)), self.out_2)
        return linear(x, self.head)


class Skipping(nn.Module):
    """A nonlinear call's result that is read by a block and, as it is, meets what that block adds.

    Seven units lead to nine outputs: fewer columns than there are values.
    """

    def __init__(self, draw):
        super().__init__()
        shapes = {"first": (7, 6), "inner": (4, 7), "back": (7, 4), "head": (9, 7)}
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(0.5 * draw(*shape)))

    def forward(self, x):
        x = relu(linear(x, self.first))
        x = x + linear(torch.tanh(linear(x, self.inner)), self.back)
        return linear(torch.sigmoid(x), self.head)


class Products(nn.Module):
    """A nonlinear call on two values at once: not a chain of elementwise calls."""

    def __init__(self, draw):
        super().__init__()
        self.one, self.other = nn.Parameter(draw(4, 6)), nn.Parameter(draw(4, 6))

    def forward(self, x):
        return linear(x, self.one) * linear(x, self.other)


@pytest.mark.parametrize("name", NAMES)
def test_backward_is_exact(name):
    problem = make_problem(name)
    outputs, fast = Backward(problem.target)(problem.components, problem.x, generator())
    torch.testing.assert_close(fast, exact(name), **TOLERANCE)
    torch.testing.assert_close(outputs, problem.target(problem.x), **TOLERANCE)


@pytest.mark.parametrize("name", OF_VECTORS)
def test_forward_is_exact(name):
    problem = make_problem(name)
    way = forward(problem.target, problem.x[:1])
    outputs, fast = way(problem.components, problem.x, generator())
    torch.testing.assert_close(fast, exact(name), **TOLERANCE)
    torch.testing.assert_close(outputs, problem.target(problem.x), **TOLERANCE)


@pytest.mark.parametrize("network", [Residual, Skipping])
@pytest.mark.parametrize("rank", [1, 2])
def test_forward_follows_every_path_through_a_residual_stream(network, rank):
    draw = numbers(81)
    x = draw(9, 6)
    target = Target.of(network(draw).double(), x)
    components = random_components(target, 7, rank, draw)
    _, slow = Backward(target)(components, x, generator())
    _, fast = forward(target, x[:1])(components, x, generator())
    torch.testing.assert_close(fast, slow, **TOLERANCE)


def test_nonlinear_calls_ahead_of_the_decomposed_weights_are_no_stages():
    draw = numbers(84)
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 8))
    x = draw(9, 6)
    target = Target.of(net.double(), x, ("2.*", "4.*"))
    components = random_components(target, 4, 2, draw)
    places = stages(target, x[:1])
    assert [place.width for place in places] == [7, 8]
    _, slow = Backward(target)(components, x, generator())
    _, fast = Forward(target, places)(components, x, generator())
    torch.testing.assert_close(fast, slow, **TOLERANCE)


def test_an_input_of_several_rows_has_no_stages():
    draw = numbers(85)
    target = Target.of(
        Formula(
            lambda net, x: linear(relu(linear(x, net.A).view(-1, 3)).view(len(x), 6), net.B),
            A=draw(6, 5),
            B=draw(4, 6),
        ),
        draw(9, 5),
    )
    assert stages(target, draw(1, 5)) is None


@pytest.mark.parametrize("at_once", [1, 500])
def test_any_number_of_inputs_at_a_time_gives_the_same(monkeypatch, at_once):
    problem = make_problem("mlp-2")
    monkeypatch.setattr("apd.strength.forward.NUMBERS_AT_ONCE", at_once)
    way = forward(problem.target, problem.x[:1])
    _, fast = way(problem.components, problem.x, generator())
    torch.testing.assert_close(fast, exact("mlp-2"), **TOLERANCE)


def test_stages_are_the_nonlinear_calls_that_components_reach_and_the_outputs():
    target = make_problem("mlp-1").target
    places = stages(target, torch.ones(1, 5).double())
    assert [place.width for place in places] == [7, 6, 4]
    assert [len(place.uses) for place in places] == [1, 1, 1]
    assert [len(place.calls) for place in places] == [0, 1, 1]
    *_, last = (target.weight(site) for site in target.sites)
    torch.testing.assert_close(next(iter(places[-1].calls.values())), last)
    torch.testing.assert_close(next(iter(places[0].uses.values())), torch.eye(7).double())


def test_a_stage_is_direct_where_one_call_s_result_is_all_there_is():
    """TMS's ReLU is at its outputs; what a block adds to is not all there is."""
    tms = make_problem("tms-1")
    assert [place.direct for place in stages(tms.target, tms.x[:1])] == [False, True]
    draw = numbers(85)
    x = draw(3, 6)
    skipping = stages(Target.of(Skipping(draw).double(), x), x[:1])
    assert [place.direct for place in skipping] == [False, False, False, False]


@pytest.mark.parametrize("own", [(4,), ()])
@pytest.mark.parametrize("values", [3, 5, 8])
def test_squared_norms_are_those_of_the_values_however_many(values, own):
    draw = numbers(86)
    t, matrix = draw(4, 6, 9), draw(*own, 5, values)
    expected = (t[:, :, 2:7] @ matrix).square().sum(-1)
    found = Linear(slice(2, 7), matrix).squared_norms(t)
    torch.testing.assert_close(found, expected, **TOLERANCE)


def test_sequences_images_and_products_of_two_values_have_no_stages():
    problem = make_problem("positions-1")
    assert stages(problem.target, problem.x[:1]) is None
    for name in ("conv-1", "conv1d-1", "twice-1"):
        problem = make_problem(name)
        assert stages(problem.target, problem.x[:1]) is None
    draw = numbers(82)
    x = draw(9, 6)
    target = Target.of(Products(draw).double(), x)
    assert nonlinear_calls(target.graph) is None
    assert stages(target, x[:1]) is None
    components = random_components(target, 7, 1, draw)
    assert isinstance(strength_of(target, components, x[:1], None), Backward)


def test_the_exact_way_is_chosen_by_the_sizes():
    """Forward for many outputs, backward for many components, projected where asked for."""
    draw = numbers(83)
    x = draw(3, 6)
    for outputs, count, kind in ((40, 4, Forward), (2, 200, Backward)):
        module = Formula(
            lambda net, x: linear(relu(linear(x, net.a)), net.b), a=draw(20, 6), b=draw(outputs, 20)
        )
        target = Target.of(module, x)
        components = random_components(target, count, 1, draw)
        assert isinstance(strength_of(target, components, x[:1], None), kind)
        assert isinstance(strength_of(target, components, x[:1], 4), Projected)


def test_many_outputs_cost_forward_no_more_than_what_they_are_made_of_squared():
    """A weight before two blocks that add to a hundred outputs, of 34 neurons between them."""
    draw = numbers(88)
    x = draw(3, 6)

    def blocks(net, x):
        h = relu(linear(x, net.a))
        return linear(h, net.first) + linear(relu(linear(h, net.b)), net.last)

    weights = {"a": draw(17, 6), "b": draw(17, 17), "first": draw(100, 17), "last": draw(100, 17)}
    module = Formula(blocks, **weights)
    alone = Target.of(module, x).alone("b")
    places = stages(alone, x[:1])
    (use,) = alone.uses
    assert Forward(alone, places).multiplications({use.node: 3}) == 3 * 17 + 17 * 17
    whole = Target.of(module, x).alone("a")
    components = random_components(whole, 250, 1, draw)
    assert isinstance(strength_of(whole, components, x[:1], None), Forward)


def test_what_no_use_leads_to_is_reached_by_one_matrix_for_all_components():
    problem = make_problem("mlp-1")
    alone = problem.target.alone(problem.target.uses[0].site)
    parts = random_components(alone, 5, 2, numbers(89))
    places = stages(alone, problem.x[:1])
    at = columns(places, {use.node: 2 for use in alone.uses})
    shapes = [Forward(alone, places).map_to(place, at, parts).matrix.shape for place in places]
    assert shapes == [(5, 2, 7), (7, 6), (6, 4)]


def test_a_direct_stage_costs_nothing():
    """Six features over one hidden unit: times the identity, forward would cost more than back."""
    draw = numbers(87)
    x = draw(3, 6)
    module = Formula(lambda net, x: relu(linear(linear(x, net.a), net.a.T)), a=draw(1, 6))
    target = Target.of(module, x)
    components = random_components(target, 40, 1, draw)
    assert isinstance(strength_of(target, components, x[:1], None), Forward)


@pytest.mark.parametrize("name", ["mlp-2", "tms-1", "positions-3"])
def test_projections_are_unbiased_with_the_variance_they_state(name):
    """Mean and variance of the squares over 4,000 draws, within six standard errors."""
    problem, draws, R = make_problem(name), 4000, 2
    effects = oracles.effects(problem).sum(1)[0].square()
    d = effects.shape[-1]
    mean = effects.sum(-1) / d
    variance = 2 / R * (effects.sum(-1) ** 2 - effects.square().sum(-1)) / d**2
    rows = problem.x[:1].expand(draws, *problem.x.shape[1:])
    _, strengths = Projected(problem.target, R)(problem.components, rows, generator())
    squares = strengths.square()
    error = (variance / draws).sqrt()
    assert ((squares.mean(0) - mean).abs() <= 6 * error + 1e-12 * mean).all()
    torch.testing.assert_close(squares.var(0), variance, rtol=0.25, atol=1e-12)


def test_projections_follow_the_generator():
    problem = make_problem("mlp-1")
    way = Projected(problem.target, 3)
    one, again = (way(problem.components, problem.x, generator())[1] for _ in range(2))
    other = way(problem.components, problem.x, torch.Generator().manual_seed(1))[1]
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_strengths_of_rows_are_exact_for_few_outputs(name):
    problem = make_problem(name)
    outputs, captures = capture(problem.target, problem.x)
    found = row_strengths(outputs, captures, problem.components)
    torch.testing.assert_close(found, exact(name), **TOLERANCE)


def test_strengths_of_rows_with_many_outputs_are_projections_that_stay_the_same():
    """Of a linear layer the effects of components are their products with the input."""
    draw, d = numbers(88), DIRECTIONS + 5
    x = draw(9, 6)
    target = Target.of(Formula(lambda net, x: linear(x, net.a), a=draw(d, 6)), x)
    components = random_components(target, 7, 2, draw)
    weights = torch.einsum("cmo,cmi->coi", components.factors["a"].U, components.factors["a"].V)
    effects = torch.einsum("coi,ni->nco", weights, x)
    directions = fixed_directions(d)
    expected = torch.stack([(effects @ way).square() for way in directions]).sum(0).div(d).sqrt()
    for rows in (slice(0, 9), slice(4, 5)):
        outputs, captures = capture(target, x[rows])
        found = row_strengths(outputs, captures, components)
        torch.testing.assert_close(found, expected[rows], **TOLERANCE)


def test_fixed_directions_are_the_outputs_or_random_signs():
    assert torch.equal(fixed_directions(DIRECTIONS), torch.eye(DIRECTIONS, dtype=torch.float64))
    many = fixed_directions(500)
    assert many.shape == (DIRECTIONS, 500)
    torch.testing.assert_close(many.abs(), torch.full_like(many, DIRECTIONS**-0.5))
    assert (many.sign().mean(1).abs() < 0.2).all()
    products = many @ many.T * DIRECTIONS / 500
    eye = torch.eye(DIRECTIONS, dtype=torch.float64)
    assert (products - eye).abs().max() < 0.2


def test_fixed_directions_are_those_that_saved_detectors_were_fitted_along():
    """Drawn by torch 2.13."""
    signs = (fixed_directions(17) > 0).int().tolist()
    assert "".join(map(str, signs[0])) == "01101111111001000"
    assert "".join(map(str, signs[-1])) == "11100110001101111"


@pytest.mark.parametrize("outputs", [2, 10, DIRECTIONS, DIRECTIONS + 8])
def test_strengths_of_a_row_are_the_same_bit_for_bit_wherever_it_stands(outputs):
    draw = numbers(89)
    x = draw(64, 6).float()
    module = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, outputs)).requires_grad_(False)
    target = Target.of(module, x)
    components = random_components(target, 7, 2, lambda *shape: draw(*shape).float())

    def strengths(rows: torch.Tensor) -> torch.Tensor:
        return row_strengths(*capture(target, rows), components)

    found = strengths(x)
    for places in (1, 13, 40):
        assert torch.equal(strengths(x.roll(places, 0)).roll(-places, 0), found)
