"""Whole mechanisms against components: by hand, by loops, by trying every assignment."""

import math

import oracles
import pytest
import torch
from problems import make_problem, numbers

from apd import Components, recovery
from apd.recovery.mechanisms import cosines
from apd.sites import Factors

SHAPES = {"read": (3, 6), "write": (7, 3)}
TOLERANCE = {"rtol": 1e-9, "atol": 1e-12}


def make_mechanisms(count):
    """At two sites, at right angles to each other: mechanism k has the entries k, k + count, ..."""
    draw = numbers(93)
    found = []
    for k in range(count):
        mechanism = {}
        for site, shape in SHAPES.items():
            entries = torch.arange(math.prod(shape)).view(shape)
            mechanism[site] = draw(*shape) * (entries % count == k)
        found.append(mechanism)
    return found


@pytest.fixture
def mechanisms():
    return make_mechanisms(5)


def scaled(mechanism, factor):
    return {site: factor * weight for site, weight in mechanism.items()}


def added(first, second):
    return {site: first[site] + second[site] for site in first}


def at(mechanism, kept):
    """The part of a mechanism at one site, 0 at the other."""
    return {site: weight * (site == kept) for site, weight in mechanism.items()}


def nothing():
    return {site: torch.zeros(shape, dtype=torch.float64) for site, shape in SHAPES.items()}


BOTH = pytest.mark.parametrize("match", [recovery.best, recovery.one_to_one])


@BOTH
def test_a_permuted_scaled_copy_is_recovered_completely(match, mechanisms):
    order, factors = [3, 0, 4, 2, 1], [0.81, 0.9, 1.0, 1.1, 1.24]
    components = [scaled(mechanisms[k], factor) for k, factor in zip(order, factors, strict=True)]
    found = match(mechanisms, oracles.whole([nothing(), *components]))
    assert found.component.tolist() == [1 + order.index(k) for k in range(5)]
    torch.testing.assert_close(found.cosine, torch.ones(5, dtype=torch.float64), **TOLERANCE)
    assert [factors[order.index(k)] for k in range(5)] == pytest.approx(found.length_ratio.tolist())
    assert found.recovered().all()
    assert found.distinct == 5
    assert math.isclose(found.mmcs, 1)
    assert math.isclose(found.ml2r, sum(factors) / 5)


@BOTH
@pytest.mark.parametrize("factor", [0.79, 1.26, -1.0])
def test_a_mechanism_of_another_length_or_sign_is_not_recovered(match, factor, mechanisms):
    components = [scaled(mechanisms[0], factor), *mechanisms[1:]]
    found = match(mechanisms, oracles.whole(components))
    assert found.recovered().tolist() == [False, True, True, True, True]


@BOTH
def test_mechanisms_merged_into_one_component_are_not_recovered(match, mechanisms):
    first, second = (scaled(m, 1 / oracles.length(m)) for m in mechanisms[:2])
    known = [first, second, *mechanisms[2:]]
    found = match(known, oracles.whole([added(first, second), *mechanisms[2:]]))
    assert found.recovered().tolist() == [False, False, True, True, True]
    assert found.cosine.max() == pytest.approx(1)
    assert max(found.cosine[:2].tolist()) == pytest.approx(math.sqrt(0.5))
    assert found.distinct == 4


@BOTH
def test_a_mechanism_split_between_its_sites_is_not_recovered(match, mechanisms):
    halves = [at(mechanisms[0], "read"), at(mechanisms[0], "write")]
    found = match(mechanisms, oracles.whole([*halves, *mechanisms[1:]]))
    assert found.recovered().tolist() == [False, True, True, True, True]
    longer = max(oracles.length(half) for half in halves)
    share = longer / oracles.length(mechanisms[0])
    assert found.cosine[0].item() == pytest.approx(share)
    assert found.length_ratio[0].item() == pytest.approx(share)


@pytest.mark.parametrize("cosine", [0.9, 0.95, 0.99])
def test_the_cosine_asked_for_decides(cosine, mechanisms):
    """cos(M, M + tan(a) N) = cos(a) where N is as long as M and at a right angle to it."""
    first, second = (scaled(m, 1 / oracles.length(m)) for m in mechanisms[:2])
    for angle, expected in (
        (math.acos(cosine) - 1e-6, True),
        (math.acos(cosine) + 1e-6, False),
    ):
        tilted = added(first, scaled(second, math.tan(angle)))
        found = recovery.one_to_one([first], oracles.whole([tilted]))
        assert found.recovered(cosine).tolist() == [expected]


def test_sites_left_out_are_zero(mechanisms):
    known = [{"read": mechanisms[0]["read"]}, *mechanisms[1:]]
    components = oracles.whole([*mechanisms[1:], at(mechanisms[0], "read")])
    assert recovery.one_to_one(known, components).recovered().all()
    components = oracles.whole(mechanisms)
    share = oracles.length(at(mechanisms[0], "read")) / oracles.length(mechanisms[0])
    assert recovery.best(known, components).cosine[0].item() == pytest.approx(share)


def test_what_is_not_at_the_components_sites_is_not_compared(mechanisms):
    known = [{**mechanisms[0], "elsewhere": torch.ones(2, 4)}, *mechanisms[1:]]
    known.append({"elsewhere": torch.ones(2, 4)})
    found = recovery.one_to_one(known, oracles.whole(mechanisms))
    assert found.recovered().tolist() == [True] * 5 + [False]
    assert found.component.tolist() == [0, 1, 2, 3, 4, -1]
    assert (found.cosine[5], found.length_ratio[5]) == (0, 0)


def test_one_component_may_be_best_for_many_but_belongs_to_one(mechanisms):
    component = mechanisms[0]
    for mechanism in mechanisms[1:]:
        component = added(component, mechanism)
    components = oracles.whole([component, nothing()])
    assert recovery.best(mechanisms, components).component.tolist() == [0] * 5
    assert recovery.best(mechanisms, components).distinct == 1
    found = recovery.one_to_one(mechanisms, components)
    assert sorted(found.component.tolist()) == [-1, -1, -1, 0, 1]
    assert (found.cosine > 0).sum() == 1


def test_figures_are_those_of_explicit_weights(problem):
    draw = numbers(94)
    known = [
        {site: draw(*s.shape) for site, s in problem.target.sites.items()},
        {site: draw(*s.shape) for site, s in list(problem.target.sites.items())[-1:]},
        {site: draw(*s.shape) for site, s in list(problem.target.sites.items())[:1]},
    ]
    slow = oracles.mechanism_cosines(known, problem)
    lengths = [oracles.length(weights) for weights in oracles.all_weights(problem)]
    worth = [[max(entry, 0) for entry in row] for row in slow]
    table = cosines(known, problem.components)
    torch.testing.assert_close(table, torch.tensor(slow, dtype=torch.float64), **TOLERANCE)
    for found, expected in (
        (recovery.best(known, problem.components), [row.index(max(row)) for row in slow]),
        (recovery.one_to_one(known, problem.components), oracles.assignment(worth)),
    ):
        assert found.component.tolist() == list(expected)
        for k, c in enumerate(expected):
            assert found.cosine[k].item() == pytest.approx(slow[k][c])
            ratio = lengths[c] / oracles.length(known[k])
            assert found.length_ratio[k].item() == pytest.approx(ratio)


def test_a_single_sites_columns_are_mechanisms_like_others():
    """Mechanisms of one column each, components with nothing beside: both figures agree."""
    problem = make_problem("tms-1")
    weight = problem.target.weight("W")
    columns = [weight * column for column in torch.eye(6, dtype=torch.float64)]
    parts = torch.stack([0.9 * columns[k] for k in (5, 3, 0, 1, 2, 4)])
    whole = Components.of({"W": Factors(torch.eye(3, dtype=torch.float64).repeat(6, 1, 1), parts)})
    found = recovery.best([{"W": column} for column in columns], whole)
    assert math.isclose(found.mmcs, recovery.mmcs(weight, parts))
    assert math.isclose(found.ml2r, recovery.ml2r(weight, parts))
    assert found.distinct == recovery.distinct(weight, parts)


def test_five_features_in_two_dimensions_are_recovered(tms):
    found = recovery.one_to_one(tms.toy.mechanisms, tms.run.components)
    assert found.recovered().tolist() == [True] * 5
    assert found.mmcs > 0.99
    assert abs(found.ml2r - 1) < 0.05
