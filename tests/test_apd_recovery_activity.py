"""Which components are active, and how many a mechanism takes."""

import math

import oracles
import pytest
import torch
from problems import make_problem

from apd import Components, Config, recovery
from apd.run import Run
from apd.sites import Factors


@pytest.mark.parametrize("name", ["mlp-2", "tms-1", "positions-3"])
def test_components_are_active_that_are_strongest_as_many_as_the_run_uses(name):
    problem = make_problem(name)
    rows = torch.arange(9)
    run = Run(problem.target, problem.components, 1.95, Config(), rows, rows, "", [], {})
    strength = oracles.rms_over_outputs(oracles.effects(problem).sum(1))
    expected = oracles.topk(strength, k=round(1.95 * len(strength)))
    assert torch.equal(recovery.active_components(run, problem.x), expected)


def test_dead_components_are_those_without_weights():
    """Weights at any one site are enough to be alive."""
    factors = make_problem("mlp-2").components.factors
    alive = (torch.arange(11) != 5)[:, None, None]
    killed = {site: Factors(u * alive, v) for site, (u, v) in factors.items()}
    assert recovery.dead(Components.of(killed)).nonzero().flatten().tolist() == [5]
    for site in factors:
        assert not recovery.dead(Components.of({**killed, site: factors[site]})).any()


def test_shares_look_at_inputs_that_exercise_a_mechanism_alone():
    exercised = torch.tensor(
        [[1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 1, 1]], dtype=torch.bool
    )
    active = torch.tensor(
        [[1, 0, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1], [0, 1, 0, 0], [0, 0, 1, 0], [1, 1, 1, 1]],
        dtype=torch.bool,
    )
    found = recovery.shares(active, exercised)
    assert found[:2].tolist() == [[1, 0.5, 0, 0.5], [0, 1, 0, 0]]
    assert found[2].isnan().all()
    assert recovery.components_per_mechanism(found).tolist() == [1, 1, 0]
    assert recovery.components_per_mechanism(found, above=0.4).tolist() == [3, 1, 0]
    sizes = recovery.participation(found).tolist()
    assert sizes[:2] == [pytest.approx(4 / 1.5), pytest.approx(1)]
    assert math.isnan(sizes[2])


def test_each_feature_in_superposition_takes_one_component(tms):
    """On inputs of one feature each, of a size at which it does something."""
    x = torch.eye(5).repeat_interleave(40, 0) * torch.linspace(0.3, 1, 40).repeat(5)[:, None]
    outputs, attributions, *_ = tms.run.explain(x.numpy(), "all")
    active = torch.from_numpy(attributions > 0.5 * outputs.max(1, keepdims=True) / math.sqrt(5))
    found = recovery.shares(active, x != 0)
    assert recovery.components_per_mechanism(found).tolist() == [1] * 5
    owners = recovery.one_to_one(tms.toy.mechanisms, tms.run.components)
    assert found.argmax(1).tolist() == owners.component.tolist()
    assert recovery.participation(found).max() < 1.05
