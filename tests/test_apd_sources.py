"""Independent sources of what a weight reads: features that are known, and what they are not."""

import warnings

import pytest
import torch
from problems import NAMES, Formula, draw_inputs, make_problem, numbers
from torch import nn
from torch.func import functional_call

import apd
from apd.components import Components
from apd.sources import sharpened, sources

FLOAT = torch.float64
SIZES = torch.tensor([1.0, 0.05, 3.0, 0.4, 1.5, 0.7], dtype=FLOAT)


def sparse(n: int, seed: int, features: int = 6) -> torch.Tensor:
    """How much there is of every feature: mostly nothing, and else a number up to 1 or to -1."""
    draw = torch.Generator().manual_seed(seed)
    size = 2 * torch.rand(n, features, generator=draw, dtype=FLOAT) - 1
    return size * (torch.rand(n, features, generator=draw, dtype=FLOAT) < 0.1)


def mixed(features: torch.Tensor, d: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The vectors that hold the features, and what reads each of these off and no other."""
    lines = numbers(23)(features.shape[1], d)
    return features @ lines, torch.linalg.pinv(lines).T


def parts_of(target: apd.Target, x: torch.Tensor, most: int = 40) -> Components | None:
    return sources(target, x, most, apd.Config())


def parts_for(weight: torch.Tensor, reading: torch.Tensor, lines: torch.Tensor):
    """The part of every feature: what it makes of it, read off it alone."""
    return [torch.outer(weight @ m, d) for m, d in zip(lines, reading, strict=True)]


def apart(found: Components, expected: list[torch.Tensor]) -> float:
    """How far the nearest part is from an expected one, over its length, at most."""
    (site,) = found.factors
    own = [found.component(c)[site] for c in range(found.count)]
    return max(min((p - e).norm() / e.norm() for p in own).item() for e in expected)


@pytest.mark.parametrize("transposed", [False, True])
def test_every_feature_has_its_part_however_weak_it_is(transposed):
    """Six features along six lines of nine numbers, read by three neurons."""
    vectors, reading = mixed(sparse(4000, 1) * SIZES, 9)
    weight = numbers(3)(3, 9)
    if transposed:
        module = Formula(lambda m, x: x @ m.A, A=weight.T.contiguous())
    else:
        module = Formula(lambda m, x: x @ m.A.T, A=weight)
    target = apd.Target.of(module, vectors[:2])
    found = parts_of(target, vectors)
    expected = parts_for(weight, reading, torch.linalg.pinv(reading).T)
    if transposed:
        expected = [e.T for e in expected]
    assert found.count == 6
    assert apart(found, expected) < 1e-3


def test_a_direction_that_is_always_on_is_a_source_and_no_feature_is_read_with_it():
    """As the ones are that carry a bias. Centred, vectors would not vary along it at all."""
    features = torch.cat([sparse(4000, 2), torch.ones(4000, 1, dtype=FLOAT)], 1)
    vectors, reading = mixed(features, 9)
    target = apd.Target.of(Formula(lambda m, x: x @ m.A.T, A=numbers(4)(3, 9)), vectors[:2])
    found = parts_of(target, vectors)
    assert found.count == 7
    own = nn.functional.normalize(found.factors["A"].V[:, 0], dim=1)
    cosines = (nn.functional.normalize(reading, dim=1) @ own.T).abs().max(1).values
    assert cosines[:6].min() > 1 - 1e-6
    assert cosines[6] > 0.95


def test_readers_are_exact_where_chance_would_leave_some_of_the_others():
    """Of 500 inputs, those with two features leave three hundredths to analysis alone."""
    features = sparse(500, 5)
    white = torch.linalg.qr(features).Q * 500**0.5
    lines = torch.linalg.lstsq(features, white).solution
    exact = nn.functional.normalize(torch.linalg.inv(lines).T, dim=1)
    found = nn.functional.normalize(sharpened(white, 0), dim=1)
    cosines = (found @ exact.T).abs()
    assert cosines.max(1).values.min() > 1 - 1e-6
    assert cosines.argmax(1).sort().values.tolist() == list(range(6))


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("tok")])
def test_parts_add_up_to_the_weight_on_what_is_read_whatever_its_kind(name):
    """With the sum in place of the weight, outputs are as they were but for a hundredth.

    As what is least read is left out, a ten-thousandth of the square. The first weight reads the
    inputs, most of whose numbers are zero. (Tokens exclude each other, which is no independence: a
    table's own rows are their parts.)
    """
    problem = make_problem(name)
    x = problem.target.prepare(draw_inputs(name.rpartition("-")[0], 400, 31))
    if x.is_floating_point():
        x = x * (torch.rand(x.shape, generator=torch.Generator().manual_seed(2)) < 0.1)
    first = next(iter(problem.target.sites))
    found = parts_of(problem.target.alone(first), x)
    total = {first: found.sum()[first].reshape_as(problem.module.get_parameter(first))}
    nothing = {first: torch.zeros_like(total[first])}
    outputs = [functional_call(problem.module, own, (x,)) for own in ({}, total, nothing)]
    assert (outputs[1] - outputs[0]).norm() < 0.01 * (outputs[2] - outputs[0]).norm()


def test_the_same_seed_finds_the_same_parts_bit_for_bit():
    vectors, _ = mixed(sparse(300, 7), 9)
    target = apd.Target.of(Formula(lambda m, x: x @ m.A.T, A=numbers(3)(3, 9)), vectors[:2])
    one, other = (parts_of(target, vectors).factors["A"] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_too_many_directions_or_too_few_vectors_or_a_larger_weight_are_not_tried(monkeypatch):
    vectors, _ = mixed(sparse(300, 7), 9)
    target = apd.Target.of(Formula(lambda m, x: x @ m.A.T, A=numbers(3)(3, 9)), vectors[:2])
    assert [parts_of(target, vectors, most) is None for most in (6, 5)] == [False, True]
    assert parts_of(target, vectors[:0].new_ones(40, 9)) is None
    assert parts_of(target, numbers(8)(6, 9)) is None
    monkeypatch.setattr("apd.sources.LARGEST", 8)
    assert parts_of(target, vectors) is None


def test_no_more_rows_are_looked_at_than_fit(monkeypatch):
    """Every other input holds features; there are none to be found in all of them."""
    odd = (torch.arange(8000) % 2 == 1)[:, None]
    vectors, reading = mixed(sparse(8000, 7) + odd * numbers(9)(8000, 6), 9)
    weight = numbers(3)(3, 9)
    target = apd.Target.of(Formula(lambda m, x: x @ m.A.T, A=weight), vectors[:2])
    expected = parts_for(weight, reading, torch.linalg.pinv(reading).T)
    assert parts_of(target, vectors) is None
    monkeypatch.setattr("apd.sources.MOST_NUMBERS", 9 * 4096)
    assert apart(parts_of(target, vectors), expected) < 1e-3


def test_what_is_dense_has_no_sources(monkeypatch):
    """Of half as many numbers as features, every one holds most of these."""
    target = apd.Target.of(Formula(lambda m, x: x @ m.A.T, A=numbers(3)(3, 6)), torch.ones(2, 6))
    features = torch.cat([sparse(3000, 3), sparse(3000, 4)], 1)
    for dense in (numbers(11)(300, 6), features @ numbers(5)(12, 6)):
        assert parts_of(target, dense) is None
        with monkeypatch.context() as patched:
            patched.setattr("apd.sources.MOSTLY_OFF", 1.0)
            assert parts_of(target, dense) is not None


def test_nothing_is_said_where_analysis_does_not_come_to_an_end(monkeypatch):
    vectors, _ = mixed(sparse(300, 7), 9)
    target = apd.Target.of(Formula(lambda m, x: x @ m.A.T, A=numbers(3)(3, 9)), vectors[:2])
    monkeypatch.setitem(apd.sources.SETTINGS, "max_iter", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parts_of(target, vectors) is not None


def test_features_that_share_neurons_are_components_however_short_training_is():
    """Eight functions of eight features along lines of twelve numbers, computed by four neurons."""
    draw = numbers(12)
    vectors, reading = mixed(sparse(3000, 13, 8), 12)
    module = nn.Sequential(nn.Linear(12, 4, bias=False), nn.ReLU(), nn.Linear(4, 3)).double()
    module[0].weight.data, module[2].weight.data = draw(4, 12), draw(3, 4)
    run = apd.decompose(module, vectors, apd.Config(steps=50))
    assert run.kinds["0.weight"] == "sources"
    expected = parts_for(module[0].weight.detach(), reading, torch.linalg.pinv(reading).T)
    for part in expected:
        cosines = [
            torch.cosine_similarity(own["0.weight"].flatten(), part.flatten(), dim=0).item()
            for c in range(run.components.count)
            for own in [run.components.component(c)]
            if own["0.weight"].any()
        ]
        assert max(cosines) > 0.999
