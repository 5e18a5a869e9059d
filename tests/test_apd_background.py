"""The background of the masked pass: what stays of everything that an input does not use."""

import oracles
import torch
from problems import make_problem, random_mask

from apd.components import initialise
from apd.masked import masked_captures
from apd.pairs import Pairs
from apd.training.background import background_of

TOLERANCE = {"rtol": 1e-9, "atol": 1e-12}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_all_of_the_rest_is_the_target_itself(problem):
    background = background_of(problem.target, problem.components, 1.0, 1.0, seeded())
    for site, weight in background.weights.items():
        assert torch.equal(weight.flatten(1), problem.target.weight(site))
    mask = random_mask(len(problem.x), problem.components.count)
    pairs = background.beside(Pairs.dense(mask, torch.float64))
    outputs, _ = masked_captures(background.target, problem.components, problem.x, pairs)
    torch.testing.assert_close(outputs.detach(), problem.target(problem.x), **TOLERANCE)


def test_what_is_active_is_there_as_a_whole(problem):
    """With every component active, and no rest, it is their sum whatever was drawn."""
    background = background_of(problem.target, problem.components, 0.0, 1.0, seeded())
    every = torch.ones(len(problem.x), problem.components.count, dtype=torch.bool)
    pairs = background.beside(Pairs.dense(every, torch.float64))
    outputs, _ = masked_captures(background.target, problem.components, problem.x, pairs)
    summed = problem.target.with_weights(problem.components.sum())
    torch.testing.assert_close(outputs.detach(), summed(problem.x), **TOLERANCE)


def test_any_number_of_components_stay_by_shares_drawn_uniformly_and_anew():
    problem = make_problem("mlp-1")
    many = initialise(problem.target, 60, 1, seeded())
    generator = seeded()
    each = [background_of(problem.target, many, 0.0, 1.0, generator).staying for _ in range(800)]
    drawn = torch.stack(each)
    shares, numbers = drawn[drawn > 0], (drawn > 0).double().mean(1)
    assert len(shares.unique()) > 0.99 * len(shares)
    for found, tolerance in ((shares, 0.01), (numbers, 0.03)):
        steps = torch.linspace(0, 1, 11, dtype=torch.float64)[1:]
        below = (found[:, None] <= steps).double().mean(0)
        torch.testing.assert_close(below, steps, atol=tolerance, rtol=0)
    half = background_of(problem.target, problem.components, 0.5, 1.0, seeded(1))
    whole = background_of(problem.target, problem.components, 0.0, 1.0, seeded(1))
    torch.testing.assert_close(half.staying, whole.staying / 2)
    less = background_of(problem.target, problem.components, 0.0, 0.3, seeded(1))
    torch.testing.assert_close(less.staying, 0.3 * whole.staying)


def test_only_its_weights_ask_for_gradients(problem):
    background = background_of(problem.target, problem.components, 0.3, 1.0, seeded())
    assert all(weight.requires_grad for weight in background.weights.values())
    assert not any(tensor.requires_grad for tensor in problem.target.state.values())
    assert not any(tensor.requires_grad for tensor in problem.components.tensors())


def test_components_that_make_up_for_each_other_are_told_from_none(problem):
    """The weights, some others and those others taken away again, all but the first inactive."""
    weights = {site: problem.target.weight(site) for site in problem.target.sites}
    others = {site: 0.5 * w.flip(1) for site, w in weights.items()}
    minus = {site: -w for site, w in others.items()}
    nothing = {site: torch.zeros_like(w) for site, w in weights.items()}
    mask = torch.tensor([[True, False, False]]).expand(len(problem.x), -1)
    for pair, matters in (([others, minus], True), ([nothing, nothing], False)):
        components, gaps = oracles.whole([weights, *pair]), []
        for seed in range(9):
            background = background_of(problem.target, components, 0.0, 1.0, seeded(seed))
            pairs = background.beside(Pairs.dense(mask, torch.float64))
            outputs, _ = masked_captures(background.target, components, problem.x, pairs)
            gaps.append((outputs - problem.target(problem.x)).abs().max().item())
        assert (max(gaps) > 1e-3) == matters
        assert max(gaps) > 1e-3 or max(gaps) < 1e-9
