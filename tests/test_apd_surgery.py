"""Networks with components removed: whose weights, under which names, and what is gone."""

import oracles
import pytest
import torch
from problems import make_problem
from safetensors.torch import load_file, save_file
from torch.func import functional_call

import apd
from apd import ComponentError, Target, surgery

TOLERANCE = {"rtol": 1e-9, "atol": 1e-12}


def same(fast, slow):
    torch.testing.assert_close(fast, slow, **TOLERANCE)


def test_removing_nothing_leaves_the_target(problem):
    whole = surgery.ablate(problem.target, problem.components, [])
    same(whole(problem.x).detach(), problem.target(problem.x))
    for site in problem.target.sites:
        assert torch.equal(whole.state_dict()[site].flatten(1), problem.target.weight(site))


def test_all_components_alone_are_the_target_without_its_residual(problem):
    count = problem.components.count
    every = torch.ones(len(problem.x), count, dtype=torch.bool)
    summed = surgery.only(problem.target, problem.components, range(count))
    same(summed(problem.x).detach(), oracles.masked_outputs(problem, every))


def test_what_is_removed_is_what_the_chosen_components_compute(problem):
    removed = torch.zeros(len(problem.x), problem.components.count, dtype=torch.bool)
    removed[:, [2, 1]] = True
    left = surgery.ablate(problem.target, problem.components, [2, 1, 2])
    same(left(problem.x).detach(), oracles.outputs_without(problem, removed))
    kept = surgery.only(problem.target, problem.components, [1, 2])
    same(kept(problem.x).detach(), oracles.masked_outputs(problem, removed))


def test_the_removed_and_the_rest_add_up_at_every_site(problem):
    left = surgery.ablate(problem.target, problem.components, [0, 2]).state_dict()
    kept = surgery.only(problem.target, problem.components, [2, 0]).state_dict()
    for name, weight in problem.module.state_dict().items():
        is_site = name in problem.target.sites
        same(left[name] + kept[name] if is_site else left[name], weight)
        assert is_site or torch.equal(kept[name], weight)


def test_sites_are_parameters_and_all_names_are_the_modules_own(problem):
    left = surgery.ablate(problem.target, problem.components, [2])
    assert {name for name, _ in left.named_parameters()} == set(problem.target.sites)
    assert set(left.state_dict()) == set(problem.module.state_dict())


def test_weights_written_as_safetensors_give_the_same_outputs(problem, tmp_path):
    left = surgery.ablate(problem.target, problem.components, [2, 1])
    save_file(left.state_dict(), tmp_path / "left.safetensors")
    state = load_file(tmp_path / "left.safetensors")
    again = surgery.only(problem.target, problem.components, [])
    assert not torch.equal(again(problem.x), left(problem.x))
    again.load_state_dict(state)
    assert torch.equal(again(problem.x), left(problem.x))
    with torch.no_grad():
        same(left(problem.x), functional_call(problem.module, state, (problem.x,)))


def test_gradients_are_those_of_the_module_with_these_weights(problem):
    left = surgery.ablate(problem.target, problem.components, [2])
    leaves = {
        name: tensor.detach().clone().requires_grad_(name in problem.target.sites)
        for name, tensor in left.state_dict().items()
    }
    left(problem.x).square().sum().backward()
    functional_call(problem.module, leaves, (problem.x,)).square().sum().backward()
    for name, parameter in left.named_parameters():
        same(parameter.grad, leaves[name].grad)


def test_changing_the_weights_leaves_the_target_alone():
    problem = make_problem("partial-3")
    before = problem.target(problem.x)
    left = surgery.ablate(problem.target, problem.components, [])
    with torch.no_grad():
        for tensor in left.state_dict().values():
            tensor += 1
    assert not torch.equal(left(problem.x), before)
    assert torch.equal(problem.target(problem.x), before)


def test_an_operated_network_can_be_decomposed_at_the_same_sites(problem):
    left = surgery.ablate(problem.target, problem.components, [1])
    again = Target.of(left, problem.x)
    assert list(again.sites) == list(problem.target.sites)
    same(again(problem.x), left(problem.x).detach())


@pytest.mark.parametrize("operate", [surgery.ablate, surgery.only])
@pytest.mark.parametrize("c", [-1, 11])
def test_components_that_are_not_there_are_refused(operate, c):
    problem = make_problem("mlp-2")
    with pytest.raises(ComponentError, match=rf"no component {c}; they are numbered 0 to 10"):
        operate(problem.target, problem.components, [3, c])


def test_a_run_operates_on_its_own_target(small_run):
    run, x = small_run
    every = range(run.components.count)
    same(run.ablate([])(x).detach(), run.target(x))
    same(run.only(every)(x).detach().numpy(), run.outputs_on(x.numpy(), every))
    without = run.ablate([5]).state_dict()
    for site, weight in run.components.component(5).items():
        same(run.target.weight(site) - without[site], weight)


def test_removing_a_mechanism_removes_its_behaviour_and_no_other(tms):
    """Five features: without the component of one, its output falls to what the bias gives."""
    owners = apd.recovery.one_to_one(tms.toy.mechanisms, tms.run.components)
    assert owners.recovered().all()
    bias_level = tms.toy.model.b.relu()
    for feature, component in enumerate(owners.component.tolist()):
        left = tms.run.ablate([component])
        with torch.no_grad():
            alone = tms.toy.model(torch.eye(5)[[feature]])[0, feature]
            now = left(torch.eye(5)[[feature]])[0, feature]
            others = [f for f in range(5) if f != feature]
            x = tms.toy.inputs.x.clone()
            x[:, feature] = 0
            change = (left(x) - tms.toy.model(x))[:, others]
            size = tms.toy.model(x)[:, others]
        assert abs(now - alone) > 0.5 * alone
        assert abs(now - bias_level[feature]) < 0.05 * alone
        assert change.square().mean().sqrt() < 0.05 * size.square().mean().sqrt()


def test_the_chosen_are_looked_for_where_the_components_are(monkeypatch):
    """On a device that holds no values all that can be asked is where the numbers are."""
    problem, asked = make_problem("mlp-2"), []
    monkeypatch.setattr(
        apd.components.Components, "some", lambda own, chosen: asked.append(chosen) or own
    )
    there = {site: owner.to("meta") for site, owner in problem.components.owners.items()}
    elsewhere = apd.components.Components(problem.components.factors, there)
    elsewhere.__dict__["count"] = problem.components.count
    surgery.sum_of(elsewhere, [2, 0])
    assert asked[0].device == torch.device("meta")
    assert asked[0].shape == (2,)
