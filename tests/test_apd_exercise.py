"""Exercise: what no reference input reads or uses is found, and is nobody's who is used."""

import numpy as np
import pytest
import torch
from problems import FLOAT, Formula, make_problem, numbers
from torch import nn
from torch.func import functional_call

from apd import Config, Target, decompose
from apd.sites import TransposedUse
from apd.training.exercise import LARGEST, ROWS, exercised, moments, projection, read
from apd.training.settling import set_apart, settle
from apd.training.state import begin

COIN = torch.Generator().manual_seed(3)


def test_moments_of_a_network_with_one_output_are_explicit_sums():
    draw = numbers(0)
    x, weights = draw(9, 5), {"A": draw(4, 5), "h": draw(1, 4)}
    module = Formula(lambda m, x: torch.tanh(x @ m.A.T) @ m.h.T, **weights)
    target = Target.of(module, x[:2])
    hidden = torch.tanh(x @ weights["A"].T)
    slopes = weights["h"] * (1 - hidden**2)
    found = moments(target, x, COIN)
    torch.testing.assert_close(found["A"].read.V, x.T @ x)
    torch.testing.assert_close(found["A"].met.U, slopes.T @ slopes)
    torch.testing.assert_close(found["h"].read.V, hidden.T @ hidden)
    torch.testing.assert_close(found["h"].met.U, torch.full((1, 1), 9.0, dtype=FLOAT))
    for own in found.values():
        assert not own.read.U.any()
        assert not own.met.V.any()


def test_a_tied_weight_reads_and_is_met_on_either_side():
    draw = numbers(1)
    x, W, h = draw(8, 6), draw(3, 6), draw(1, 6)
    module = Formula(lambda m, x: (x @ m.W.T @ m.W) @ m.h.T, W=W, h=h)
    found = moments(Target.of(module, x[:2]), x, COIN)["W"]
    hidden, first, second = x @ W.T, (h @ W.T).expand(8, 3), h.expand(8, 6)
    torch.testing.assert_close(found.read.V, x.T @ x)
    torch.testing.assert_close(found.met.V, second.T @ second)
    torch.testing.assert_close(found.met.U, first.T @ first)
    torch.testing.assert_close(found.read.U, hidden.T @ hidden)
    for both, one, other in zip(found.both, found.read, found.met, strict=True):
        torch.testing.assert_close(both, one + other)


@pytest.mark.parametrize("name", ["mlp", "matmul", "positions", "conv", "conv1d", "tokens"])
def test_a_change_that_nothing_reads_changes_no_output(name):
    problem = make_problem(f"{name}-1")
    x = problem.x[:1]
    found = exercised(moments(problem.target, x, COIN))
    parameters = dict(problem.module.named_parameters())
    some = False
    for site in problem.target.sites.values():
        (use,) = site.uses
        weight = problem.target.weight(site.name)
        turned = isinstance(use, TransposedUse)
        left, right = found[site.name]
        change = numbers(2)(*weight.shape)
        unread = change - (left @ change if turned else change @ right)
        some = some or unread.norm() > 0.1
        changed = {site.name: (weight + unread).view(parameters[site.name].shape)}
        expected = problem.module(x)
        outputs = functional_call(problem.module, changed, (x,))
        torch.testing.assert_close(outputs, expected, atol=1e-2, rtol=0)
        moved = {site.name: (weight + change).view(parameters[site.name].shape)}
        assert (functional_call(problem.module, moved, (x,)) - expected).norm() > 0.1
    assert some


def test_projection_leaves_out_the_least_directions_that_hold_a_ten_thousandth():
    basis = torch.linalg.qr(numbers(4)(5, 5)).Q
    values = torch.tensor([1.0, 0.5, 0.01, 1e-4, 0.0], dtype=FLOAT)
    found = projection(basis @ torch.diag(values) @ basis.T)
    torch.testing.assert_close(found, basis[:, :3] @ basis[:, :3].T, atol=1e-6, rtol=0)


def test_sites_too_wide_to_take_apart_are_left_out():
    module = nn.Sequential(nn.Linear(LARGEST + 1, 2, bias=False), nn.Linear(2, 1, bias=False))
    target = Target.of(module, torch.zeros(2, LARGEST + 1))
    assert list(moments(target, torch.ones(3, LARGEST + 1), COIN)) == ["1.weight"]


def test_what_the_reference_never_reads_is_given_to_components_of_its_own():
    draw = numbers(5)
    module = Formula(lambda m, x: torch.relu(x @ m.A.T) @ m.B.T, A=draw(4, 6), B=draw(3, 4))
    reference = draw(400, 6)
    reference[:, 5] = 0
    target = Target.of(module, reference[:2])
    training = begin(target, Config(components=13))
    living = torch.arange(13) < 7
    training.usage = living.double()
    sides = exercised(moments(target, reference, COIN))
    sizes = dict.fromkeys(target.sites, 0.0)
    settle(training, target, 2.0, sizes, 1.0, sides)
    held = training.components.factors["A"].V[:, 0, 5].abs()
    assert held[living].max() < 1e-9
    assert held[~living].max() > 0.1
    total = training.components.sum()["A"]
    torch.testing.assert_close(total[:, 5], module.A.detach()[:, 5])


@pytest.mark.parametrize("turned", [False, True])
def test_what_is_not_read_is_apart_and_no_output_of_what_is_read_has_changed(turned):
    draw = numbers(9)
    weights = {"A": draw(6, 4) if turned else draw(4, 6), "B": draw(3, 4)}
    module = Formula(lambda m, x: torch.relu(x @ (m.A if turned else m.A.T)) @ m.B.T, **weights)
    x = draw(300, 6)
    x[:, 4] = x[:, 0]
    x[:, 5] = 0
    target = Target.of(module, x[:2])
    components = begin(target, Config(components=9)).components
    for U, V in components.factors.values():
        U[7:], V[7:] = 0, 0
    before = [target.with_weights(components.component(c))(x) for c in range(7)]
    sides = read(target, moments(target, x, COIN))
    set_apart(components, target, dict.fromkeys(target.sites, 0.0), sides)
    for c, outputs in enumerate(before):
        torch.testing.assert_close(target.with_weights(components.component(c))(x), outputs)
    total = components.sum()["A"]
    for unread in ([0.0, 0, 0, 0, 0, 1], [1.0, 0, 0, 0, -1, 0]):
        v = torch.tensor(unread, dtype=FLOAT)
        held = [
            v @ p if turned else p @ v for p in (components.component(c)["A"] for c in range(9))
        ]
        assert max(h.norm() for h in held[:7]) < 1e-9
        assert min(h.norm() for h in held[7:]) > 0.01
        expected = v @ module.A if turned else module.A @ v
        torch.testing.assert_close(v @ total if turned else total @ v, expected.detach())


@pytest.mark.parametrize("turned", [False, True])
def test_where_outputs_are_steep_what_is_read_little_is_read(turned):
    """One of a million is on the steep coordinate, which makes half of what outputs vary by."""
    x = torch.zeros(1000, 3, dtype=FLOAT)
    x[:, 0], x[:, 1], x[:, 2] = numbers(10)(3, 1000) * torch.tensor([[1.0], [1e-3], [5e-4]])
    for steep, kept in ((1.0, [1, 0, 0]), (1e3, [1, 1, 0])):
        W = torch.tensor([[1.0, steep, 0.0]], dtype=FLOAT)
        module = Formula(lambda m, x: x @ (m.W if turned else m.W.T), W=W.T if turned else W)
        target = Target.of(module, x[:2])
        found = read(target, moments(target, x, COIN))["W"]
        reads, writes = found if turned else reversed(found)
        expected = torch.diag(torch.tensor(kept, dtype=FLOAT))
        torch.testing.assert_close(reads, expected, atol=0.1, rtol=0)
        torch.testing.assert_close(writes, torch.eye(1, dtype=FLOAT))


def test_of_a_tied_weight_either_side_is_what_its_own_use_reads():
    """Both uses read fewer directions than there are: a coordinate is zero, and a hidden one."""
    draw = numbers(11)
    W, x = draw(3, 6), draw(80, 6)
    x[:, 5], W[2, :5] = 0, 0
    module = Formula(lambda m, x: (x @ m.W.T) @ m.W, W=W)
    target = Target.of(module, x[:2])
    found = read(target, moments(target, x, COIN))["W"]
    for side, kept in zip(found, ([1, 1, 0], [1, 1, 1, 1, 1, 0]), strict=True):
        torch.testing.assert_close(side, torch.diag(torch.tensor(kept, dtype=FLOAT)))


def test_in_the_end_no_component_of_use_reads_what_the_reference_never_reads():
    draw = numbers(8)
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    reference = draw(400, 6).float()
    reference[:, 5] = 0
    run = decompose(module, reference, Config(steps=200, components=13, batch_size=64))
    used = torch.from_numpy(run.explain(reference.numpy(), "predicted").strengths.max(0) > 1e-3)
    reads = run.components.factors["0.weight"].V[:, 0].abs()
    own = used[run.components.owners["0.weight"]]
    assert own.sum() > 3
    assert reads[own, 5].max() < 1e-6 < 0.01 < reads[own, :5].max()


def test_a_sorted_reference_is_looked_at_throughout():
    module = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Linear(3, 2, bias=False))
    x = torch.zeros(3 * ROWS // 2, 4)
    x[:ROWS, :2], x[ROWS:, 2:] = numbers(6)(ROWS, 2).float(), numbers(7)(ROWS // 2, 2).float()
    found = exercised(moments(Target.of(module, x[:2]), x, COIN))["0.weight"]
    torch.testing.assert_close(found.V, torch.eye(4), atol=1e-5, rtol=0)


def test_weights_that_only_switch_are_decomposed():
    """No output has a gradient at them."""
    draw = numbers(8)
    module = Formula(lambda net, x: (x @ net.A.T) * ((x @ net.B.T) > 0), A=draw(3, 4), B=draw(3, 4))
    run = decompose(module, draw(90, 4), Config(components=5, steps=20, batch_size=16))
    assert all(np.isfinite(step.faithfulness) for step in run.steps)
    attributions = run.explain(draw(6, 4).numpy(), "all").attributions
    assert np.isfinite(attributions).all()
