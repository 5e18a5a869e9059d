"""Objectives: how many components they choose, what L_p asks for, and that each of them trains."""

import json
import math
import subprocess
import sys
from functools import cache
from typing import get_args

import oracles
import pytest
import torch
from problems import Formula, Problem, make_problem, make_target, numbers

import apd
from apd import Config, ConfigError, masked
from apd.training.objectives import OBJECTIVES, BatchTopK, ExactK, Lp, SampleTopK
from apd.training.sparsity import Phase, Sparsity
from apd.training.state import begin
from cli import settings

TOLERANCE = {"rtol": 1e-8, "atol": 1e-10}
GIVEN = {name: {"objective": name} for name in OBJECTIVES} | {
    "exact-k": {"objective": "exact-k", "active": 0.8}
}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(8)


def objective_of(problem: Problem, **given):
    config = Config(**given)
    components = problem.components
    return OBJECTIVES[config.objective].of(problem.target, components, problem.x, config)


def select(problem: Problem, k: float, **given):
    objective = objective_of(problem, **given)
    return objective.select(problem.components, problem.x, k, generator())


def strengths(problem: Problem) -> torch.Tensor:
    return oracles.rms_over_outputs(oracles.effects(problem).sum(1))


def test_every_objective_in_the_settings_has_a_class():
    assert set(OBJECTIVES) == set(get_args(Config.model_fields["objective"].annotation))
    assert OBJECTIVES[Config().objective] is BatchTopK
    assert (len(OBJECTIVES), OBJECTIVES["lp"]) == (4, Lp)


# --- choosing -------------------------------------------------------------------------------


@pytest.mark.parametrize("active", [0.3, 1.0, 2.45, 10.9])
@pytest.mark.parametrize("name", ["batch-topk", "exact-k"])
def test_the_batch_has_as_many_pairs_as_are_asked_for(name, active):
    problem = make_problem("mlp-2")
    found = select(problem, active, objective=name, active=active)
    mask = oracles.topk(strengths(problem), round(active * 9))
    assert torch.equal(found.pairs.columns().bool(), mask)
    assert found.active == active
    assert torch.equal(found.usage, mask.double().mean(0))
    assert torch.equal(found.amounts, found.usage)
    torch.testing.assert_close(found.outputs, problem.target(problem.x))


@pytest.mark.parametrize(("active", "pairs"), [(0.01, 1), (50.0, 99)])
def test_there_is_a_pair_at_least_and_all_at_most(active, pairs):
    found = select(make_problem("mlp-2"), active)
    assert found.pairs.columns().bool().sum() == pairs
    assert found.active == pairs / 9


@pytest.mark.parametrize(("active", "k"), [(0.01, 1), (1.4, 1), (1.6, 2), (7.2, 7), (50.0, 11)])
def test_every_input_has_as_many_components(active, k):
    problem = make_problem("mlp-2")
    found = select(problem, active, objective="sample-topk")
    mask = oracles.sample_topk(strengths(problem), k)
    assert mask.sum(1).tolist() == [k] * 9
    assert torch.equal(found.pairs.columns().bool(), mask)
    assert found.active == k
    assert torch.equal(found.usage, mask.double().mean(0))


@pytest.mark.parametrize("name", ["batch-topk", "sample-topk", "exact-k"])
def test_choices_have_no_gradient(name):
    found = select(make_problem("mlp-1"), 1.0, objective=name, active=1.0)
    assert found.passes(torch.ones(11).double()) == []


@pytest.mark.parametrize(("chosen", "fewest"), [(BatchTopK, 1 / 20), (SampleTopK, 1)])
def test_a_small_error_brings_k_down_to_the_fewest_there_can_be(chosen, fewest):
    problem = make_problem("mlp-1")
    objective = chosen.of(
        problem.target, problem.components, problem.x, Config(batch_size=20, steps=400)
    )
    sparsity = Sparsity(5.0, 5.0, 5.0, 1e-6)
    for step in range(80):
        objective.steer(sparsity, Phase(True, step, 80), 40)
    assert sparsity.active == sparsity.held == fewest


def test_an_exact_k_is_kept_from_the_first_step_to_the_last():
    config = Config(components=12, steps=30, batch_size=16, objective="exact-k", active=0.625)
    target = make_target("mlp")[1]
    run = apd.decompose(target, numbers(101)(150, 5), config)
    assert [step.active for step in run.steps] == [0.625] * 90
    assert [step.amounts for step in run.steps] == pytest.approx([10 / 16] * 90)
    assert ExactK.search_steps(config) == 0


def test_an_exact_k_has_to_be_given():
    for make in (lambda: Config(objective="exact-k"), lambda: Config.of({"objective": "exact-k"})):
        with pytest.raises(ConfigError, match=r"^setting 'active': the objective exact-k"):
            make()


# --- the L_p formulation --------------------------------------------------------------------


@cache
def jacobians(name: str) -> dict[str, torch.Tensor]:
    return oracles.jacobians(make_problem(f"{name}-1"))


def name_of(problem: Problem) -> str:
    known = ("mlp", "partial", "tms", "matmul", "positions", "conv", "conv1d", "twice", "tokens")
    return next(n for n in (*known, "unembed") if make_target(n)[1] is problem.target)


def scaled(problem: Problem) -> torch.Tensor:
    """A_c(x) over that of all weights as one component, [n, C]; differentiable."""
    gradients = jacobians(name_of(problem))
    weights = {site: problem.target.state[site] for site in problem.target.sites}
    scale = oracles.attributions(gradients, weights).square().mean().sqrt()
    columns = [oracles.attributions(gradients, p) for p in oracles.shaped_weights(problem)]
    return torch.stack(columns, dim=1) / scale


@pytest.mark.parametrize("p", [0.5, 1.0])
def test_amounts_are_powers_of_attributions(problem, p):
    found = select(problem, 1.0, objective="lp", attribution_p=p)
    expected = scaled(problem)
    torch.testing.assert_close(found.amounts, (expected**p).mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.outputs, problem.target(problem.x), **TOLERANCE)


@pytest.mark.parametrize("name", ["mlp-1", "tms-2", "matmul-3", "twice-1"])
def test_those_count_as_active_that_have_a_tenth_of_the_greatest(name):
    problem = make_problem(name)
    found = select(problem, 1.0, objective="lp")
    mask = torch.stack([row > 0.1 * max(row.tolist()) for row in scaled(problem)])
    assert torch.equal(found.usage, mask.double().mean(0))
    assert found.active == pytest.approx(mask.sum().item() / len(mask))
    assert 0 < found.active < mask.shape[1]


def test_every_input_is_run_on_all_components(problem):
    found = select(problem, 1.0, objective="lp")
    assert torch.equal(found.pairs.columns(), torch.ones(len(problem.x), len(found.usage)).double())


@pytest.mark.of_parts
@pytest.mark.parametrize("through_weights", [False, True])
def test_the_passes_add_up_to_the_gradient_of_the_amounts(problem, through_weights, monkeypatch):
    monkeypatch.setattr(masked, "masked_through_weights", lambda *_: through_weights)
    weights = torch.linspace(0.2, 1.7, problem.components.count).double()
    passes = select(problem, 1.0, objective="lp", attribution_p=0.7).passes(weights)
    made, leaves = oracles.with_leaves(problem)
    amounts = (scaled(made) ** 0.7).mean(0)
    slow = iter(torch.autograd.grad((weights * amounts).sum(), leaves))
    for site, factors in problem.components.factors.items():
        blocks = [slice(0, 2), slice(2, problem.components.count)]
        for own in zip(*[added(passes, site, factors, block) for block in blocks], strict=True):
            torch.testing.assert_close(torch.cat(own), next(slow), rtol=1e-6, atol=1e-9)


def added(passes, site, factors, block) -> tuple[torch.Tensor, torch.Tensor]:
    parts = [part for each in passes for part in each.at(site, factors.of(block), block)]
    return sum(part.U for part in parts), sum(part.V for part in parts)


def test_projections_estimate_the_squares_of_the_attributions():
    problem = make_problem("mlp-2")
    config = {"objective": "lp", "attribution_p": 2.0}
    few, many = (select(problem, 1.0, **config, projections=r) for r in (3, 3000))
    scale = (
        objective_of(problem, **config, projections=3000).scale
        / objective_of(problem, **config).scale
    )
    exact = (scaled(problem) ** 2).mean(0)
    torch.testing.assert_close(many.amounts * scale**2, exact, rtol=0.03, atol=0)
    assert len(few.passes(torch.ones(11).double())) == 3
    assert not torch.allclose(few.amounts, many.amounts, rtol=0.03)


def test_a_network_without_slopes_has_no_attributions():
    target = apd.Target.of(
        Formula(lambda net, x: torch.sign(x @ net.W), W=numbers(1)(4, 3)), numbers(2)(9, 4)
    )
    config = Config(components=5, steps=3, objective="lp")
    with pytest.raises(apd.ReferenceError, match="no effect at first order"):
        apd.decompose(target, numbers(3)(90, 4), config)


def test_weights_behind_a_threshold_have_no_attributions():
    def formula(net, x):
        return (x @ net.W > 0).to(x.dtype) @ net.R

    x = numbers(3)(90, 4)
    target = apd.Target.of(Formula(formula, W=numbers(1)(4, 3), R=numbers(2)(3, 2)), x[:9])
    config = Config(components=5, steps=3, batch_size=8, objective="lp")
    components = begin(target, config).components
    objective = Lp.of(target, components, x, config)
    found = objective.select(components, x[:7], 1.0, torch.Generator().manual_seed(0))
    gradients = {seen.use.site: g for seen, g in zip(found.captures, found.gradients, strict=True)}
    assert gradients["W"].shape == (2, 7, 3)
    assert not gradients["W"].any()
    assert gradients["R"].any()
    run = apd.decompose(target, x, config)
    assert all(math.isfinite(step.minimality + step.amounts) for step in run.steps)


# --- training -------------------------------------------------------------------------------

TRAIN = """
import dataclasses, json, sys
sys.path.insert(0, "tests")
import torch
from problems import make_target, numbers
import apd
torch.set_num_threads(1)
features = numbers(55)(400, 6).abs() * (numbers(56)(400, 6) > 1)
for given in json.loads(sys.argv[1]):
    config = apd.Config(components=12, steps=300, batch_size=32, **given)
    run = apd.decompose(make_target("tms")[1], features, config)
    print(json.dumps([dataclasses.asdict(step) for step in run.steps]))
"""


@pytest.fixture(scope="module")
def trained(request):
    """Every step of a training on superposition with each objective, and with L_p for nothing.

    In a process of its own: executed annotations would make them several times as long.
    """
    given = {**GIVEN, "free": {"objective": "lp", "attributions": 0.0}}
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, json.dumps(list(given.values()))],
        cwd=request.config.rootpath,
        capture_output=True,
        text=True,
        check=True,
    )
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    return dict(zip(given, runs, strict=True))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_trains(trained, name):
    first, *_, last = trained[name]
    assert first["faithfulness"] > 0.5
    assert last["faithfulness"] < 0.01
    assert last["minimality"] < 0.1  # of what no components leave


def test_the_penalty_makes_attributions_sparse(trained):
    """As it starts to be released, against the same training without it."""
    paid, free = (trained[name][int(0.4 * 300)] for name in ("lp", "free"))
    assert paid["amounts"] < 0.9 * free["amounts"]
    assert paid["active"] < 0.7 * free["active"]
    assert paid["faithfulness"] < 0.05


def test_the_penalty_has_no_say_where_components_are_chosen():
    config = {"components": 9, "steps": 12, "batch_size": 16}
    target, x = make_target("mlp")[1], numbers(101)(150, 5)
    runs = [
        apd.decompose(target, x, Config(**config, attributions=weight)) for weight in (0.0, 5.0)
    ]
    for one, other in zip(*[run.components.tensors() for run in runs], strict=True):
        assert torch.equal(one, other)


class StopError(Exception):
    pass


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_interrupted_training_ends_as_the_uninterrupted_one(name, tmp_path, monkeypatch):
    """Stopped before and after components are settled, at step 12 of 20."""
    monkeypatch.setattr("apd.decomposition.CHECKPOINT_EVERY_S", -1.0)
    target, x = make_target("mlp")[1], numbers(120)(150, 5)
    config = Config(components=8, rank=2, steps=20, batch_size=32, hidden=("2.*",), **GIVEN[name])

    def stopping(step: apd.Step) -> None:
        if step.step in stops:
            stops.remove(step.step)
            raise StopError

    stops = [3, 15]
    for _ in range(2):
        with pytest.raises(StopError):
            apd.decompose(target, x, config, directory=tmp_path, progress=stopping)
    resumed = apd.decompose(target, x, config, directory=tmp_path, progress=stopping)
    whole = apd.decompose(target, x, config)
    assert resumed.steps == whole.steps
    for one, other in zip(resumed.components.tensors(), whole.components.tensors(), strict=True):
        assert torch.equal(one, other)
    assert apd.load(tmp_path).steps == whole.steps


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_file_of_settings_names_an_objective(name, tmp_path):
    path = tmp_path / "apd.toml"
    path.write_text(
        f'[decomposition]\nobjective = "{name}"\nactive = 1.5\nhidden = ["a.*", "b"]\n'
        "reconstruction = 2\nattributions = 0.25\nattribution_p = 0.8\n"
    )
    config = Config.of(settings.read(path).decomposition)
    assert (config.objective, config.active) == (name, 1.5)
    assert (config.hidden, config.reconstruction) == (("a.*", "b"), 2.0)
    assert (config.attributions, config.attribution_p) == (0.25, 0.8)
