"""The background of the masked pass: what stays of everything that an input does not use."""

import oracles
import pytest
import torch
from problems import make_problem, random_mask

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


def test_what_stays_is_drawn_uniformly_and_anew():
    problem = make_problem("mlp-1")
    generator = seeded()
    drawn = torch.cat(
        [
            background_of(problem.target, problem.components, 0.0, 1.0, generator).staying
            for _ in range(800)
        ]
    )
    assert len(drawn.unique()) > 0.99 * len(drawn)
    assert ((drawn >= 0) & (drawn < 1)).all()
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.02)
    assert drawn.var().item() == pytest.approx(1 / 12, abs=0.005)
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
        components = oracles.whole([weights, *pair])
        background = background_of(problem.target, components, 0.0, 1.0, seeded())
        pairs = background.beside(Pairs.dense(mask, torch.float64))
        outputs, _ = masked_captures(background.target, components, problem.x, pairs)
        gap = (outputs - problem.target(problem.x)).abs().max().item()
        assert (gap > 1e-3) == matters
        assert gap > 1e-3 or gap < 1e-9
