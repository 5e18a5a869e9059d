"""An attacker who knows the defence: the attributions it hides, and that it hides them."""

import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))

import trainings
from adaptive import attributions, hiding, knowing
from attacks import TARGET
from images import load, split
from matching import moments_apart
from trainings import Material, Stage, Training, train
from victims import Recipe, material, poison, untrained

import apd
from apd.attribution import signed_attributions
from apd.hooks import capture

FEW = apd.Config(steps=40, components=12, seed=100)
NEVER = Training("plain", (trainings.adding(trainings.nothing),))


@pytest.fixture(scope="module", params=["mlp", "cnn"])
def material_and_run(request):
    """What an attacker has and what it makes of an untrained network, in float64."""
    recipe = Recipe(request.param, "patch", 0.1, NEVER, 100)
    parts = split(load(None), 100)
    whole = material(poison(parts.training, recipe), parts.training, recipe)
    pictures = Material(*(x.double() if x.is_floating_point() else x for x in whole))
    model = untrained(recipe, 8).double()
    return model, apd.decompose(model, pictures.clean, FEW), pictures


@pytest.fixture
def attacked(material_and_run):
    """The same, with a network of the test's own."""
    model, run, pictures = material_and_run
    return deepcopy(model), run, pictures


def test_attributions_are_those_of_the_score_at_the_weights_as_they_are_now(attacked):
    model, run, pictures = attacked
    with torch.no_grad():
        model[0].weight.mul_(1.5)
    x = pictures.triggered[:23]
    now = run.target.with_weights({k: v.detach() for k, v in model.named_parameters()})
    outputs, captures = capture(now, x)
    chosen = torch.full((len(x),), TARGET)
    expected = signed_attributions(outputs, captures, run.components, chosen).sum(1)
    found = attributions(model, run, x)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    before = signed_attributions(*capture(run.target, x), run.components, chosen).sum(1)
    assert not torch.allclose(before, expected, rtol=0.05)


def test_the_extra_loss_reduces_what_it_is_made_of(attacked):
    """A few steps on nothing else bring attributions nearer, and all weights get a gradient."""
    model, run, pictures = attacked
    pair = pictures.usual[:60], pictures.triggered[:70]
    extra = hiding(run)

    def apart():
        return moments_apart(*(attributions(model, run, x) for x in pair)).item()

    before, optimiser = apart(), torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(8):
        optimiser.zero_grad()
        extra(model, *pair).backward()
        optimiser.step()
    assert apart() < 0.8 * before
    assert all(p.grad.abs().sum() > 0 for n, p in model.named_parameters() if "weight" in n)


def test_attributions_carry_the_gradient_by_the_weights(attacked):
    """Of any sum of them, against a central difference, with the components held fixed."""
    model, run, pictures = attacked
    x = pictures.triggered[:37]
    weights = [p for n, p in model.named_parameters() if "weight" in n]
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(37, run.components.count, generator=generator, dtype=torch.float64)
    way = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in weights]

    def mixed(by):
        with torch.no_grad():
            for p, w in zip(weights, way, strict=True):
                p.add_(by * w)
        return (attributions(model, run, x) * mix).sum()

    gradients = torch.autograd.grad(mixed(0.0), weights)
    slope = sum((g * w).sum() for g, w in zip(gradients, way, strict=True)).item()
    step = 1e-7
    difference = (mixed(step) - mixed(-2 * step)).item() / (2 * step)
    assert difference == pytest.approx(slope, rel=1e-5)


def test_the_second_stage_decomposes_what_the_first_has_made(monkeypatch):
    """It takes half as many steps again, with components of the network as it then is."""
    monkeypatch.setattr(trainings, "STEPS", 12)
    recipe = Recipe("mlp", "patch", 0.1, NEVER, 100)
    parts = split(load(None), 100)
    pictures = material(poison(parts.training, recipe), parts.training, recipe)
    seen, made = [], []

    def prepare(model, clean, seed):
        assert clean is pictures.clean
        made.append(model[0].weight.detach().clone())
        extra = knowing(FEW.model_copy(update={"steps": 5}), model, clean, seed)

        def watched(*args):
            seen.append(args)
            return extra(*args)

        return watched

    first = trainings.adding(trainings.matching)
    model, plain = untrained(recipe, 8), untrained(recipe, 8)
    train(plain, pictures, Training("first", (first,)), 100)
    train(model, pictures, Training("both", (first, Stage(prepare, 0.5, 0.0))), 100)
    assert torch.equal(made[0], plain[0].weight)
    assert len(seen) == 6
    assert not torch.equal(model[0].weight, plain[0].weight)


def test_another_way_to_decompose_makes_another_victim():
    one, other = (trainings.trainings(config)["adaptive"] for config in (FEW, apd.Config()))
    assert trainings.settings(one) != trainings.settings(other)
    plain = (trainings.trainings(config)["plain"] for config in (FEW, apd.Config()))
    assert len(set(map(trainings.settings, plain))) == 1
