"""The masked pass and its gradients, against each input run alone on explicit weights."""

import oracles
import pytest
import torch
from problems import make_problem, make_target, random_mask

from apd import masked
from apd.masked import masked_captures, masked_outputs, own_outputs
from apd.pairs import Pairs
from apd.training.background import background_of
from apd.training.gradient import Gradient, Mixture, Pass
from apd.training.losses import faithfulness_gradient, simplicity_gradient, sizes

TOLERANCE = {"rtol": 1e-9, "atol": 1e-12}
COEFFICIENTS, P = (1.3, 0.7, 0.4), 0.9


def one_busy(n: int, count: int) -> torch.Tensor:
    """A component that is always on, one that never is, and few others."""
    mask = torch.zeros(n, count, dtype=torch.bool)
    mask[:, 2] = True
    mask[0, [0, count - 2]] = True
    mask[3, [count - 2, count - 1]] = True
    return mask


@pytest.fixture(params=["random", "one busy", "full", "empty"])
def mask(request, problem):
    n, count = len(problem.x), problem.components.count
    return {
        "random": random_mask(n, count),
        "one busy": one_busy(n, count),
        "full": torch.ones(n, count, dtype=torch.bool),
        "empty": torch.zeros(n, count, dtype=torch.bool),
    }[request.param]


@pytest.fixture(params=["sparse", "dense"])
def pairs(request, mask):
    return {
        "sparse": Pairs.of(mask, torch.float64, 1000),
        "dense": Pairs.dense(mask, torch.float64),
    }[request.param]


@pytest.fixture(params=["parts", "weights"])
def way(request, monkeypatch):
    """Whichever is cheaper, both are to be right."""
    choice = request.param == "weights"
    monkeypatch.setattr(masked, "masked_through_weights", lambda *_: choice)


@pytest.mark.usefixtures("way")
def test_masked_outputs_are_those_of_the_sum_of_the_active_components(problem, mask, pairs):
    fast = masked_outputs(problem.target, problem.components, problem.x, pairs)
    torch.testing.assert_close(fast, oracles.masked_outputs(problem, mask), **TOLERANCE)


@pytest.mark.usefixtures("way")
def test_all_components_together_are_a_target_with_their_sum_as_weights(problem):
    every = torch.ones(len(problem.x), problem.components.count, dtype=torch.bool)
    pairs = Pairs.dense(every, torch.float64)
    fast = masked_outputs(problem.target, problem.components, problem.x, pairs)
    summed = problem.target.with_weights(problem.components.sum())
    torch.testing.assert_close(fast, summed(problem.x), **TOLERANCE)


@pytest.mark.of_parts
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("rest", [0.0, 0.3])
def test_block_by_block_the_gradient_is_that_of_the_three_losses(problem, mask, pairs, rest):
    """Through the masked pass, its background, the sum of the components and the factor bound."""
    components, outputs = problem.components, oracles.forward(problem.module, problem.x)
    generator = torch.Generator().manual_seed(3)
    background = background_of(problem.target, components, rest, 0.8, generator)
    kept = background.staying / (1 - rest)
    beside = background.beside(pairs)
    outputs_now, captures = masked_captures(background.target, components, problem.x, beside)
    run_alone = oracles.masked_run(problem, mask, rest, kept).detach()
    torch.testing.assert_close(outputs_now.detach(), run_alone, **TOLERANCE)
    error = (outputs_now - outputs).square().mean()
    places, weights = [c.y for c in captures], background.weights
    slopes = torch.autograd.grad(
        COEFFICIENTS[1] * error.log1p(), [*places, *weights.values()], materialize_grads=True
    )
    errors, at_weights = slopes[: len(places)], slopes[len(places) :]
    gaps = components.residual(problem.target)
    weight = torch.tensor(COEFFICIENTS[0], dtype=torch.float64)
    faithful = Mixture(torch.ones_like(kept), faithfulness_gradient(gaps, weight))
    by_site = {site: g.flatten(1) for site, g in zip(weights, at_weights, strict=True)}
    gradient = Gradient(
        mixtures=[faithful, Mixture(background.staying, by_site)],
        passes=[Pass(captures, errors, beside)],
        shrinking=simplicity_gradient(
            sizes(components), COEFFICIENTS[2] * mask.double().mean(0), P
        ),
    )
    slow = iter(oracles.training_gradient(problem, mask, COEFFICIENTS, P, kept, rest))
    for site, factors in components.factors.items():
        for size in (2, components.count):
            starts = range(0, components.count, size)
            blocks = [slice(c, min(c + size, components.count)) for c in starts]
            parts = [gradient.at(site, factors, block) for block in blocks]
            fast = [torch.cat([part[k] for part in parts]) for k in (0, 1)]
        for found, expected in zip(fast, slow, strict=False):
            torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


def test_own_outputs_leave_biases_aside():
    module, target, x = make_target("mlp")
    first, _, third = (use.node for use in target.uses)
    own = own_outputs(target, x, [first, third])
    hidden = module[:4](x)
    assert set(own) == {first, third}
    torch.testing.assert_close(own[first], x @ module[0].weight.T, **TOLERANCE)
    torch.testing.assert_close(own[third], hidden @ module[4].weight.T, **TOLERANCE)


def test_own_outputs_of_a_weight_used_twice_are_two():
    module, target, x = make_target("tms")
    own = own_outputs(target, x, [use.node for use in target.uses])
    low = x @ module.W.T
    for found, expected in zip(own.values(), (low, low @ module.W), strict=True):
        torch.testing.assert_close(found, expected, **TOLERANCE)


def test_components_that_sum_to_the_weights_compute_what_the_target_computes(problem):
    weights = {site: problem.target.weight(site) for site in problem.target.sites}
    halves = oracles.whole(
        [{site: share * w for site, w in weights.items()} for share in (0.3, 0.7)]
    )
    pairs = Pairs.dense(torch.ones(len(problem.x), 2, dtype=torch.bool), torch.float64)
    none = problem.target.with_weights({s: torch.zeros_like(w) for s, w in weights.items()})
    _, captures = masked_captures(none, halves, problem.x, pairs)
    own = own_outputs(problem.target, problem.x, [use.node for use in problem.target.uses])
    assert len(own) == len(captures)
    for capture in captures:
        torch.testing.assert_close(own[capture.use.node], capture.y, **TOLERANCE)


def test_with_no_uses_named_the_network_is_not_run():
    problem = make_problem("mlp-1")
    assert own_outputs(problem.target, torch.zeros(2, 99), []) == {}
