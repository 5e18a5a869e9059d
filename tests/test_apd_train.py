"""Training: each step's record against the oracles, published figures."""

import dataclasses
import itertools
import math
from functools import partial

import oracles
import pytest
import torch
from problems import Problem, make_problem, numbers, random_mask

import apd
from apd import Config, ConfigError, recovery
from apd.strength import strength_of
from apd.training.background import background_of
from apd.training.losses import OUTPUT_LOSSES
from apd.training.objectives import OBJECTIVES
from apd.training.objectives.batch_topk import active_sets
from apd.training.reproduction import reproduction
from apd.training.scales import scales_of
from apd.training.state import Attempt, begin, component_count
from apd.training.train import batch, generator_of, train


def shares_by_hand(count: int, generator: torch.Generator) -> torch.Tensor:
    """How much of each component stays: a share of those whose number is below another one."""
    shares, chance = torch.rand(count, generator=generator), torch.rand(1, generator=generator)
    places = torch.rand(count, generator=generator)
    return torch.tensor([s if n < chance else 0.0 for s, n in zip(shares, places, strict=True)])


def reference(n: int = 150) -> torch.Tensor:
    return numbers(101)(n, 5)


def copy_of(components: apd.Components) -> apd.Components:
    return apd.Components.of(
        {
            s: type(f)(f.U.detach().clone(), f.V.detach().clone())
            for s, f in components.factors.items()
        }
    )


def mechanism_size(weight: torch.Tensor) -> float:
    """The root mean square of a weight's singular values."""
    values = torch.linalg.svdvals(weight)
    return math.sqrt(sum(value**2 for value in values.tolist()) / len(values))


@pytest.mark.parametrize("loss", ["mse", "kl"])
@pytest.mark.parametrize("name", ["mlp-1", "mlp-2"])
def test_a_record_is_what_the_oracles_say(name, loss):
    problem = make_problem(name)
    config = Config(
        components=11, rank=int(name[-1]), active=2.0, batch_size=8, seed=5, loss=loss, steps=10
    )
    training = begin(problem.target, config)
    training.step = 1  # of three in which k narrows, from 11 / 4 to 2, and the rest fades out
    before, x = copy_of(training.components), reference()
    record = next(train(problem.target, x, config, training))

    generator = generator_of(config, 1)
    small = batch(x, config, generator)
    kept = shares_by_hand(11, generator)
    seen = Problem(problem.module, problem.target, before, small, problem.chosen)
    strength = oracles.rms_over_outputs(oracles.effects(seen).sum(1))
    k = 11 / 4 * (2 / (11 / 4)) ** (1 / 3)
    mask = oracles.topk(strength, round(k * 8))
    usage = mask.double().mean(0)
    outputs = oracles.forward(problem.module, x)
    weights = [problem.target.weight(site) for site in problem.target.sites]

    assert record.step == 1
    assert record.active == pytest.approx(k)
    mean_square = sum(w.square().sum() for w in weights) / sum(w.numel() for w in weights)
    assert math.isclose(record.faithfulness, oracles.faithfulness(seen) / mean_square, rel_tol=1e-9)
    run_alone = oracles.forward(problem.module, small)
    slow = {"mse": oracles.mse, "kl": oracles.kl}[loss](
        run_alone, oracles.masked_run(seen, mask, 2 / 3, kept).detach()
    )
    none = torch.zeros(len(x), 11, dtype=torch.bool)
    missing = {"mse": oracles.mse, "kl": oracles.kl}[loss](
        outputs, oracles.masked_outputs(dataclasses.replace(seen, x=x), none)
    )
    assert math.isclose(record.minimality, slow / missing, rel_tol=1e-9)
    typical = sum(mechanism_size(w) ** config.schatten_p for w in weights)
    bound = oracles.factor_bound(seen, usage, config.schatten_p)
    assert math.isclose(record.simplicity, bound / (2.0 * typical), rel_tol=1e-6)
    torch.testing.assert_close(training.usage, 0.99 / 4 + 0.01 * usage)


@pytest.mark.parametrize("projections", [None, 3])
def test_the_first_step_goes_down_the_gradient_of_the_weighted_losses(projections):
    """Adam's first step moves every vector by the learning rate, in lengths of a typical one."""
    problem = make_problem("mlp-2")
    config = Config(
        components=11,
        active=2.0,
        rank=2,
        batch_size=8,
        warmup=0.0,
        narrowing=0.0,
        learning_rate=1e-3,
        steps=10,
        projections=projections,
    )
    training = begin(problem.target, config)
    before, x = copy_of(training.components), reference()
    next(train(problem.target, x, config, training))

    generator = generator_of(config, 0)
    small = batch(x, config, generator)
    strength = strength_of(problem.target, before, x[:1], projections)
    _, mask = active_sets(strength, before, small, 2.0, generator)
    kept = shares_by_hand(11, generator).double()
    seen = Problem(problem.module, problem.target, before, small, problem.chosen)
    scales = scales_of(problem.target, x, config)
    patience = config.separation / 1.0  # nothing is explained yet
    coefficients = (
        1 / scales.weights.item(),
        2.0,
        patience * config.simplicity / (2.0 * scales.simplicity),
    )
    unit = scales.outputs.item()
    gradient = iter(oracles.training_gradient(seen, mask, coefficients, 0.9, kept, unit=unit))
    for site, factors in before.factors.items():
        length = 1e-3 * math.sqrt(mechanism_size(problem.target.weight(site)))
        for old, new in zip(factors, training.components.factors[site], strict=True):
            g = next(gradient)
            step = -length * g / g.norm(dim=-1, keepdim=True)
            torch.testing.assert_close(new - old, step, rtol=1e-5, atol=1e-9)


# --- hidden outputs -------------------------------------------------------------------------

# target -> layers that are hidden, by the pattern that names their weights
LAYERS = {
    "mlp-2": ("[02].*", ("0", "2")),
    "partial-3": ("0.weight", ("0",)),
    "conv-3": ("[03].*", ("0", "3")),
}


def hidden_of(problem: Problem, layer: str) -> torch.Tensor:
    """What a layer of the target puts out, its bias aside."""
    bias = problem.module.get_submodule(layer).bias
    with torch.no_grad():
        y = oracles.hidden_outputs(
            problem.module, layer, lambda: oracles.forward(problem.module, problem.x)
        )
    return y if bias is None else y - bias.view(-1, *[1] * (y.ndim - 2))


@pytest.mark.parametrize("name", LAYERS)
def test_the_masked_pass_is_to_reproduce_outputs_and_hidden_outputs(name):
    """The losses of inputs run alone, and the gradients of both at every component."""
    problem, (pattern, layers) = make_problem(name), LAYERS[name]
    config = Config(hidden=(pattern,), minimality=1.7, reconstruction=0.6, batch_size=8)
    scales = scales_of(problem.target, problem.x, config)
    objective = OBJECTIVES["batch-topk"].of(problem.target, problem.components, problem.x, config)
    mask = random_mask(len(problem.x), problem.components.count)
    selection = objective.chosen(problem.target(problem.x), mask, 1.0)
    generator = torch.Generator().manual_seed(3)
    background = background_of(problem.target, problem.components, 0.3, 0.8, generator)
    minimality, reconstruction, active, staying = reproduction(
        problem.target, problem.components, problem.x, selection, config, scales, background
    )

    made, leaves = oracles.with_leaves(problem)
    kept = background.staying / 0.7
    run = partial(oracles.masked_run, made, mask, 0.3, kept)
    outputs = run()
    missing = [hidden_of(problem, layer).square().mean() for layer in layers]
    targets = [
        oracles.hidden_outputs(
            problem.module, layer, lambda: oracles.forward(problem.module, problem.x)
        )
        for layer in layers
    ]
    found = [oracles.hidden_outputs(problem.module, layer, run) for layer in layers]
    errors = [(a - b).square().mean() for a, b in zip(found, targets, strict=True)]
    slow = sum(e / m for e, m in zip(errors, missing, strict=True)) / len(layers)
    assert reconstruction.item() == pytest.approx(slow.item(), rel=1e-9)
    error = (outputs - oracles.forward(problem.module, problem.x)).square().mean() / scales.outputs
    assert minimality.item() == pytest.approx(error.item(), rel=1e-9)
    loss = 1.7 * torch.log(1 + error) + 0.6 * slow
    slopes = torch.autograd.grad(loss, leaves, materialize_grads=True)
    expected = iter(slopes)
    for site, factors in problem.components.factors.items():
        every = slice(0, problem.components.count)
        parts = [*active.at(site, factors, every), staying.at(site, factors, every)]
        for side in (0, 1):
            total = sum(part[side] for part in parts)
            torch.testing.assert_close(total, next(expected), rtol=1e-7, atol=1e-9)


def test_hidden_outputs_are_recorded_and_one_without_components():
    target, x = make_problem("mlp-2").target, reference()
    config = Config(components=6, steps=5, batch_size=150, narrowing=0, hidden=("2.*",))
    training = begin(target, config)
    for tensor in training.components.tensors():
        tensor.zero_()
    first = next(train(target, x, config, training))
    assert first.reconstruction == pytest.approx(1, rel=0.3)  # a batch is not the whole reference
    assert first.minimality == pytest.approx(1, rel=0.3)
    plain = next(
        train(target, x, Config(components=6, steps=5), begin(target, Config(components=6)))
    )
    assert plain.reconstruction == 0


def test_hidden_outputs_are_learned_where_they_are_asked_for():
    """The same training ends nearer to the hidden outputs it was asked to reproduce."""
    target, x = make_problem("mlp-2").target, reference()
    ends = []
    for weight in (0.0, 3.0):
        config = Config(
            components=6,
            active=2.0,
            steps=120,
            batch_size=32,
            hidden=("0.*", "2.weight"),
            reconstruction=weight,
        )
        steps = list(train(target, x, config, begin(target, config)))
        ends.append(sum(step.reconstruction for step in steps[-10:]) / 10)
    assert ends[1] < 0.8 * ends[0]


@pytest.mark.parametrize("pattern", ["1.weight", "0.bias", "*.weights", ""])
def test_a_hidden_output_that_is_not_there_is_refused_with_those_that_are(pattern):
    config = Config(components=6, steps=5, hidden=("0.*", pattern))
    with pytest.raises(ConfigError) as caught:
        apd.decompose(make_problem("mlp-1").target, reference(), config)
    assert str(caught.value) == (
        f"setting 'hidden': no site matches {pattern!r}; there are 0.weight, 2.weight, 4.weight"
    )


# --- k over training ------------------------------------------------------------------------


def test_a_given_k_is_narrowed_to_held_and_raised_in_the_end():
    config = Config(components=12, active=0.5, steps=40, batch_size=16)
    run = apd.decompose(make_problem("mlp-1").target, reference(), config)
    assert [step.step for step in run.steps] == [*range(40)] * 3
    assert [step.site for step in run.steps] == [s for s in run.sites for _ in range(40)]
    active = [step.active for step in run.steps[40:80]]
    assert active[0] == 3
    assert active[12:24] == [0.5] * 12
    assert all(a > b for a, b in itertools.pairwise(active[:13]))
    assert all(a <= b <= 3 for a, b in itertools.pairwise(active[24:]))
    assert active[-1] > 0.5


def test_components_start_again_after_the_search():
    """The first step of the decomposition proper sees what the first of the search saw."""
    target, x = make_problem("mlp-1").target, reference()
    config = Config(components=12, steps=40, batch_size=16, warmup=1.0)
    steps = [copy_of(training.components) for training in watched(target, x, config)]
    start = begin(target, config).components
    for before, after in zip(start.tensors(), steps[8].tensors(), strict=True):
        assert torch.equal(before, after)  # the rate is zero in the first step of a phase
    assert not torch.equal(steps[7].tensors()[0], start.tensors()[0])


def watched(target, x, config):
    training = begin(target, config)
    for _ in train(target, x, config, training):
        yield training


def test_components_that_run_away_start_over_at_half_the_pace():
    """A rate of many lengths a step runs away from the weights, and is halved until it does not."""
    config = Config(
        components=12, active=0.5, steps=300, batch_size=16, learning_rate=3.0, warmup=0.8
    )
    target, x = make_problem("mlp-1").target, reference()
    began, paces = [], []
    for training in watched(target, x, config):
        began.append(training.attempt.began)
        paces.append(training.attempt.pace)
    assert paces[0] == 1
    assert paces[-1] <= 0.5
    assert 0 < began[-1] < 300
    starts = [i for i, (a, b) in enumerate(itertools.pairwise(paces)) if b == a / 2]
    assert len(starts) == len(set(paces)) - 1
    assert began[-1] == starts[-1] + 2  # the step after the one that ran away


def test_components_that_run_away_while_k_is_searched_for_warm_up_again(monkeypatch):
    """The step after the one that ran away is at a rate of zero, as the first of all was."""
    monkeypatch.setattr(
        Attempt, "diverges", lambda attempt, _: attempt.pace == 1 and next(steps) == 9
    )
    steps = itertools.count()
    config = Config(components=12, steps=100, batch_size=16, warmup=1.0)
    target, x = make_problem("mlp-1").target, reference()
    seen = [
        (copy_of(training.components).tensors()[0], training.attempt.began, training.attempt.pace)
        for training in itertools.islice(watched(target, x, config), 14)
    ]
    start = begin(target, config).components.tensors()[0]
    assert [(began, pace) for _, began, pace in seen] == [(0, 1.0)] * 9 + [(10, 0.5)] * 5
    still = [torch.equal(tensor, start) for tensor, *_ in seen]
    assert still == [True, *[False] * 8, True, True, False, False, False]


def test_nothing_starts_over_after_the_last_step(monkeypatch):
    monkeypatch.setattr(Attempt, "diverges", lambda attempt, _: next(steps) == 19)
    steps = itertools.count()
    config = Config(components=12, active=0.5, steps=20, batch_size=16, release_end=1.0)
    target, x = make_problem("mlp-1").target, reference()
    last = list(watched(target, x, config))[-1]
    start = begin(target, config)
    assert last.attempt.pace == 1
    assert not torch.equal(last.components.tensors()[0], start.components.tensors()[0])


@pytest.mark.parametrize("objective", ["batch-topk", "lp"])
def test_a_network_too_large_for_two_rows_has_its_scales_measured_on_two(objective, monkeypatch):
    monkeypatch.setattr("apd.training.scales.rows_that_fit", lambda numbers: 1)
    config = Config(components=12, steps=3, batch_size=16, objective=objective)
    target, x = make_problem("mlp-1").target, reference()
    assert len(list(watched(target, x, config))) == 3


def test_components_that_stay_no_numbers_are_refused():
    """Beyond the range of numbers from the first step on, too far for halving the pace to mend."""
    config = Config(components=12, active=0.5, steps=60, batch_size=16, learning_rate=1e200)
    target, x = make_problem("mlp-1").target, reference()
    training = begin(target, config)
    with pytest.raises(apd.ConfigError, match="'learning_rate'"):
        for _ in train(target, x, config, training):
            pass
    assert training.attempt.pace < 1


def test_components_that_are_no_numbers_in_the_end_are_refused_at_once():
    """Once they have settled nothing starts over, and no step of what is left is worth its time."""
    config = Config(components=12, active=0.5, steps=60, batch_size=16)
    target, x = make_problem("mlp-1").target, reference()
    training = begin(target, config)
    steps = train(target, x, config, training)
    assert len(list(itertools.islice(steps, 46))) == 46
    next(iter(training.components.tensors())).fill_(math.nan)
    with pytest.raises(apd.ConfigError, match="'learning_rate'"):
        next(steps)
    assert training.attempt.pace == 1


def test_batches_are_rows_of_the_reference_fixed_by_seed_and_step():
    x = torch.arange(150.0)[:, None]
    config = Config(batch_size=64, seed=4)
    rows = batch(x, config, generator_of(config, 7))
    assert rows.shape == (64, 1)
    assert set(rows.flatten().tolist()) <= set(range(150))
    assert torch.equal(rows, batch(x, config, generator_of(config, 7)))
    assert not torch.equal(rows, batch(x, config, generator_of(config, 8)))
    other = Config(batch_size=64, seed=5)
    assert not torch.equal(rows, batch(x, other, generator_of(other, 7)))


def test_the_number_of_components_follows_the_targets_size():
    assert component_count(make_problem("mlp-1").target, Config()) == 50  # at most 7 wide
    assert component_count(make_problem("mlp-1").target, Config(components=3)) == 3
    for width, count in [(30, 75), (100, 200)]:
        wide = apd.Target.of(torch.nn.Linear(width, 2), torch.zeros(2, width))
        assert component_count(wide, Config()) == count


def same(first: apd.Run, second: apd.Run) -> bool:
    pairs = zip(first.components.tensors(), second.components.tensors(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_the_seed_fixes_every_bit(small_run):
    run, x = small_run
    target = make_problem("mlp-1").target
    torch.manual_seed(12345)
    again = apd.decompose(target, x, run.config)
    assert same(run, again)
    assert run.steps == again.steps
    assert torch.equal(run.rows, again.rows)
    assert run.fingerprint == again.fingerprint
    other = apd.decompose(target, x, run.config.model_copy(update={"seed": 99}))
    assert not same(run, other)
    assert not torch.equal(run.rows, other.rows)


def test_no_component_of_a_run_is_dead(tms):
    assert tms.run.components.count <= 10
    assert tms.run.ranks.min() > 0


def test_short_trainings_do_not_bury_what_is_used():
    """How often a component was used counts from the first step, not from zero."""
    config = Config(components=4, active=2.0, steps=10, batch_size=64)
    run = apd.decompose(make_problem("mlp-1").target, reference(300), config)
    assert all(len(own) >= 3 for own in run.components.owners.values())


def test_published_figures_on_five_features_in_two_dimensions(tms):
    """APD paper: MMCS 0.998, ML2R 0.893; SPD paper: 1.000, 0.993 (arXiv 2501.14926, 2506.20790)."""
    weight = tms.run.target.weight("W")
    components = torch.stack([tms.run.components.component(c)["W"] for c in range(50)])
    assert recovery.mmcs(weight, components) >= 0.999
    assert 0.99 <= recovery.ml2r(weight, components) <= 1.01
    assert recovery.distinct(weight, components) == 5


def test_the_known_mechanisms_are_the_components_found(tms):
    """Each ground-truth mechanism, whole, is one component, whole."""
    found = [tms.run.components.component(c)["W"].flatten() for c in range(50)]
    for mechanism in tms.toy.mechanisms:
        truth = mechanism["W"].flatten()
        cosines = [torch.cosine_similarity(truth, other, dim=0).item() for other in found]
        assert max(cosines) > 0.99


def test_training_is_faithful_and_minimal_in_the_end(tms):
    first, last = tms.run.steps[0], tms.run.steps[-1]
    assert first.faithfulness > 0.3
    assert last.faithfulness < 1e-3
    assert last.minimality < 0.02
    residual = tms.run.components.residual(tms.run.target)["W"]
    assert residual.square().mean() < 1e-3 * tms.run.target.weight("W").square().mean()


def test_every_loss_in_the_settings_has_a_function():
    assert set(OUTPUT_LOSSES) == {"mse", "kl"}
