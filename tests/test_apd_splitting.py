"""Components that are two, found and taken apart; components that are one, left as they are."""

import pytest
import torch
from problems import Formula, numbers

import apd
from apd import Components, Config
from apd.sites import Factors
from apd.training.losses import complexity, sizes
from apd.training.splitting import first_half, split
from apd.training.state import begin

FLOAT = torch.float64
GAINS = torch.tensor([2.0, 1.0, 3.0, 1.5], dtype=FLOAT)
EVERY = 0.25  # of inputs have each of four features, one at a time


def coin() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def one_at_a_time(n: int, seed: int) -> torch.Tensor:
    """Four features, of which every input has one, in a turned basis of six numbers; the basis."""
    draw = numbers(seed)
    amounts = draw(n, 1).abs() + 0.5
    basis = torch.linalg.qr(draw(6, 6)).Q[:4]
    return amounts * basis[torch.arange(n) % 4], basis


def both_ways(turned: bool) -> tuple:
    """A weight that writes two features along one line, there and back, and two along others.

    Returns:
        The target, inputs, what each feature writes, and the features [4, 6].
    """
    x, basis = one_at_a_time(400, 3)
    lines = torch.linalg.qr(numbers(4)(5, 5)).Q[:3]
    writes = GAINS[:, None] * torch.stack([lines[0], -lines[0], lines[1], lines[2]])
    weight = writes.T @ basis
    module = Formula(
        lambda m, x: torch.relu(torch.cat([y := x @ (m.A if turned else m.A.T), -y], dim=1)),
        A=weight.T.contiguous() if turned else weight,
    )
    return apd.Target.of(module, x[:2]), x, writes, basis


def beginning(target: apd.Target, u: torch.Tensor, v: torch.Tensor, turned: bool) -> Components:
    """The parts u v^T, and as many zero components again."""
    components = begin(target, Config(components=2 * len(u))).components
    for tensor, given in zip(components.factors["A"], (v, u) if turned else (u, v), strict=True):
        tensor.zero_()
        tensor[: len(given), 0] = given
    return components


@pytest.mark.parametrize("turned", [False, True])
def test_a_component_that_two_features_share_becomes_one_for_each(turned):
    target, x, writes, basis = both_ways(turned)
    line = writes[0] / GAINS[0]
    u = torch.stack([line, writes[2], writes[3]])
    v = torch.stack([GAINS[0] * basis[0] - GAINS[1] * basis[1], basis[2], basis[3]])
    components = beginning(target, u, v, turned)
    before = components.sum()["A"]
    split(components, target, x, 1.0, Config(), coin())
    living = components.living().components
    assert living.count == 4
    found = [living.component(c)["A"] for c in range(4)]
    for write, feature in zip(writes, basis, strict=True):
        expected = torch.outer(write, feature)
        expected = expected.T if turned else expected
        assert min(float((own - expected).norm()) for own in found) < 1e-4
    torch.testing.assert_close(components.sum()["A"], before)
    again = [tensor.clone() for tensor in components.tensors()]
    split(components, target, x, 1.0, Config(), coin())
    assert all(torch.equal(a, b) for a, b in zip(again, components.tensors(), strict=True))


def test_no_more_are_split_than_there_are_zero_components():
    target, x, writes, basis = both_ways(False)
    line = writes[0] / GAINS[0]
    shared = GAINS[0] * basis[0] - GAINS[1] * basis[1]
    site = Factors(
        torch.stack([line, writes[2]])[:, None], torch.stack([shared, basis[2]])[:, None]
    )
    full = Components.of({"A": Factors(site.U.clone(), site.V.clone())})
    split(full, target, x, 0.75, Config(), coin())
    for tensor, before in zip(full.factors["A"], site, strict=True):
        assert torch.equal(tensor, before)


@pytest.mark.parametrize("n", [24, 90, 2000])
def test_a_component_that_reads_one_thing_of_inputs_of_every_kind_is_one(n):
    """Gaussian inputs, too few of them to tell its halves from chance, or many."""
    draw = numbers(8)
    target = apd.Target.of(Formula(lambda m, x: x @ m.A.T, A=draw(3, 20)), draw(2, 20))
    left, values, right = torch.linalg.svd(target.weight("A"), full_matrices=False)
    components = beginning(target, left.T * values[:, None], right, False)
    before = [tensor.clone() for tensor in components.tensors()]
    split(components, target, draw(n, 20), 2.0, Config(), coin())
    assert all(torch.equal(a, b) for a, b in zip(before, components.tensors(), strict=True))


def test_halves_are_least_squares_of_what_each_reads_more_of():
    """They are those of a fixed point, by `torch.linalg.lstsq`; of rank two, too."""
    draw = numbers(5)
    vectors = torch.cat([draw(40, 7) * torch.tensor([3.0, 1, 1, 0.2, 0, 0, 0]), draw(30, 7)])
    v = draw(2, 7)
    half = first_half(vectors, v)
    read = vectors @ v.T
    own = (vectors @ half.T).norm(dim=1) > (read - vectors @ half.T).norm(dim=1)
    assert 0 < int(own.sum()) < len(own)
    expected = torch.linalg.lstsq(vectors, read * own[:, None]).solution.T
    torch.testing.assert_close(half, expected, atol=1e-3, rtol=1e-3)


def test_training_ends_with_a_component_for_each_of_two_features_along_one_line():
    """From where gradients leave them: a network of one weight, whose training merges the two."""
    target, x, writes, basis = both_ways(False)
    run = apd.decompose(target, x, Config(components=12, steps=600, seed=1))
    found = [own["A"] for own in map(run.components.component, range(run.components.count))]
    for write, feature in zip(writes, basis, strict=True):
        mechanism = torch.outer(write, feature).flatten()
        cosines = [float(torch.cosine_similarity(own.flatten(), mechanism, 0)) for own in found]
        assert max(cosines) > 0.99


def test_two_are_kept_only_where_they_lower_the_simplicity_loss():
    """Of the features' shares 2 and 1 of one line, 3 against sqrt(5) times as many inputs."""
    target, x, writes, basis = both_ways(False)
    line = writes[0] / GAINS[0]
    components = beginning(
        target, line[None], (GAINS[0] * basis[0] - GAINS[1] * basis[1])[None], False
    )
    loss = float(complexity(sizes(components), 0.9)[0]) * 2 * EVERY
    split(components, target, x, 2 * EVERY, Config(), coin())
    after = float(complexity(sizes(components), 0.9).sum()) * EVERY
    assert after == pytest.approx((2**0.9 + 1) * EVERY, rel=1e-4)
    assert loss == pytest.approx(5**0.45 * 2 * EVERY, rel=1e-4)
    assert after < 0.9 * loss
