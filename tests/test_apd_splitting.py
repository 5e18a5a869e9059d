"""Components that are two, found and taken apart; components that are one, left as they are."""

import pytest
import torch
from problems import NAMES, Formula, draw_inputs, make_problem, numbers

import apd
from apd import Components, Config
from apd.sites import Factors
from apd.training import splitting
from apd.training.splitting import ahead, first_half, numbers_met, split, vectors_read
from apd.training.state import begin
from apd.training.train import rearrange

FLOAT = torch.float64
GAINS = torch.tensor([2.0, 1.0, 3.0, 1.5], dtype=FLOAT)
LINES = torch.linalg.qr(numbers(4)(5, 5)).Q
FEATURES = torch.linalg.qr(numbers(3)(6, 6)).Q[:4]


def coin() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def one_at_a_time(n: int, signed: bool = False) -> torch.Tensor:
    """Inputs that have one feature of four each, in turns."""
    amounts = numbers(6)(n, 1)
    amounts = amounts + 0.5 * amounts.sign()
    return (amounts if signed else amounts.abs()) * FEATURES[torch.arange(n) % 4]


def network(writes: torch.Tensor, turned: bool = False) -> apd.Target:
    """One weight, which writes that much [4, 5] of every feature."""
    weight = writes.T @ FEATURES
    module = Formula(
        lambda m, x: torch.relu(torch.cat([y := x @ (m.A if turned else m.A.T), -y], dim=1)),
        A=weight.T.contiguous() if turned else weight,
    )
    return apd.Target.of(module, torch.zeros(2, 6, dtype=FLOAT))


def components_of(u: torch.Tensor, v: torch.Tensor, count: int, turned: bool = False) -> Components:
    """Parts u v^T, and zero ones up to that number."""
    factors = Factors(*(t.new_zeros(count, 1, t.shape[1]) for t in (u, v)))
    for tensor, given in zip(factors, (u, v), strict=True):
        tensor[: len(given), 0] = given
    return Components.of({"A": Factors(factors.V, factors.U) if turned else factors})


def copies(components: Components) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in components.tensors()]


def untouched(components: Components, before: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(before, components.tensors(), strict=True))


def parts_for(components: Components, writes: torch.Tensor, turned: bool = False) -> list[float]:
    """How far the nearest component is from each feature's own weights."""
    found = [components.component(c)["A"] for c in range(components.count)]
    own = [torch.outer(write, feature) for write, feature in zip(writes, FEATURES, strict=True)]
    return [min(float(((p.T if turned else p) - m).norm()) for p in found) for m in own]


THERE_AND_BACK = GAINS[:, None] * torch.stack([LINES[0], -LINES[0], LINES[1], LINES[2]])
SHARED = GAINS[0] * FEATURES[0] - GAINS[1] * FEATURES[1]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_a_component_that_two_features_share_becomes_one_for_each(turned, signed):
    target, x = network(THERE_AND_BACK, turned), one_at_a_time(400, signed)
    u = torch.stack([LINES[0], THERE_AND_BACK[2], THERE_AND_BACK[3]])
    components = components_of(u, torch.stack([SHARED, *FEATURES[2:]]), 6, turned)
    before = components.sum()["A"]
    split(components, target, x, 1.0, Config(), coin())
    assert components.living().components.count == 4
    assert max(parts_for(components, THERE_AND_BACK, turned)) < 1e-4
    torch.testing.assert_close(components.sum()["A"], before)
    again = copies(components)
    split(components, target, x, 1.0, Config(), coin())
    assert untouched(components, again)


def test_a_component_that_three_share_becomes_three():
    writes = GAINS[:, None] * torch.stack([LINES[0], -LINES[0], LINES[0], LINES[2]])
    v = torch.stack([SHARED + GAINS[2] * FEATURES[2], FEATURES[3]])
    components = components_of(torch.stack([LINES[0], writes[3]]), v, 6)
    split(components, network(writes), one_at_a_time(800), 1.0, Config(), coin())
    assert components.living().components.count == 4
    assert max(parts_for(components, writes)) < 1e-4


def test_those_that_gain_most_are_split_where_zero_components_run_out():
    writes = GAINS[:, None] * torch.stack([LINES[0], -LINES[0], LINES[1], -LINES[1]])
    v = torch.stack([SHARED, GAINS[2] * FEATURES[2] - GAINS[3] * FEATURES[3]])
    components = components_of(LINES[:2], v, 3)
    before = copies(components)
    split(components, network(writes), one_at_a_time(400), 1.0, Config(), coin())
    near = parts_for(components, writes)
    assert max(near[2:]) < 1e-4 < 0.5 < min(near[:2])
    full = components_of(LINES[:2], v, 2)
    split(full, network(writes), one_at_a_time(400), 1.0, Config(), coin())
    assert untouched(full, [tensor[:2] for tensor in before])


@pytest.mark.parametrize(("both", "kept"), [(0.1, True), (0.9, False)])
def test_two_are_kept_only_where_they_lower_the_simplicity_loss_by_a_tenth(both, kept):
    """Equal halves are simpler where less than 0.9 * 2^0.45 - 1 = 0.23 of the inputs use both."""
    writes = torch.stack([LINES[0], -LINES[0], LINES[1], LINES[2]])
    amounts = numbers(6)(1000, 2)
    alone = torch.rand(1000, generator=coin()) >= both
    amounts[alone, torch.arange(1000)[alone] % 2] = 0
    x = amounts @ FEATURES[:2]
    u, v = torch.stack([LINES[0]]), torch.stack([FEATURES[0] - FEATURES[1]])
    components = components_of(u, v, 3)
    split(components, network(writes), x, 1.0, Config(), coin())
    assert (components.living().components.count == 2) == kept


@pytest.mark.parametrize("n", [90, 400, 2000])
def test_a_component_that_reads_one_thing_of_inputs_of_every_kind_is_one(n):
    """Gaussian inputs of sixty numbers: of the fewest, any halves fit those they were found on."""
    draw = numbers(8)
    target = apd.Target.of(Formula(lambda m, x: x @ m.A.T, A=draw(3, 60)), draw(2, 60))
    left, values, right = torch.linalg.svd(target.weight("A"), full_matrices=False)
    components = components_of(left.T * values[:, None], right, 6)
    before = copies(components)
    split(components, target, draw(n, 60), 2.0, Config(), coin())
    assert untouched(components, before)


def test_too_few_inputs_do_not_say_that_a_component_is_two():
    components = components_of(LINES[:1], SHARED[None], 3)
    before = copies(components)
    split(components, network(THERE_AND_BACK), one_at_a_time(24), 0.5, Config(), coin())
    assert untouched(components, before)


def test_what_is_two_is_split_once_what_is_left_has_been_given_away():
    """One of two zero components is for the feature that nobody holds, and one for a half."""
    target, x = network(THERE_AND_BACK), one_at_a_time(400)
    training = begin(target, Config(components=4))
    u, v = torch.stack([LINES[0], THERE_AND_BACK[2]]), torch.stack([SHARED, FEATURES[2]])
    for tensor, given in zip(training.components.factors["A"], (u, v), strict=True):
        tensor[2:], tensor[:2, 0] = 0, given
    training.usage = torch.tensor([0.5, 0.25, 0.0, 0.0]).double()
    rearrange(training, target, x, Config(), {"A": 1.0}, 1.0)
    assert max(parts_for(training.components, THERE_AND_BACK)) < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_sums_stay_what_they_are_at_sites_of_every_kind(name):
    problem = make_problem(name)
    given = [
        Factors(*(torch.cat([t, torch.zeros_like(t)]) for t in factors))
        for factors in problem.components.factors.values()
    ]
    components = Components.of(dict(zip(problem.components.factors, given, strict=True)))
    before = components.sum()
    x = problem.target.prepare(draw_inputs(name.rpartition("-")[0], 150, 31))
    split(components, problem.target, x, 3.0, Config(), coin())
    for site, total in components.sum().items():
        torch.testing.assert_close(total, before[site])


@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_is_what_components_read(name):
    """And no more numbers than were reckoned with."""
    problem = make_problem(name)
    for site, (U, V) in problem.components.factors.items():
        alone = problem.target.alone(site)
        vectors = vectors_read(alone, problem.x)
        assert vectors[0].numel() <= numbers_met(alone)
        use = alone.sites[site].uses[0]
        _, captures = apd.hooks.capture(alone, problem.x)
        read = use.read(next(c.x for c in captures if c.use is use), Factors(U, V))
        reads, _ = use.sides(U, V)
        own = torch.einsum("nvd,pmd->nvpm", vectors, reads)
        found = read.reshape(len(vectors), -1, *read.shape[-2:])
        torch.testing.assert_close(own[:, : found.shape[1]], found)


def test_a_reference_is_looked_at_throughout(monkeypatch):
    """Of a sorted one, the first rows have one of the two features only."""
    x = one_at_a_time(400)
    x = x[(torch.arange(400) % 4).argsort(stable=True)]
    monkeypatch.setattr(splitting, "ROWS", 100)
    components = components_of(LINES[:1], SHARED[None], 2)
    split(components, network(THERE_AND_BACK), x, 0.5, Config(), coin())
    assert max(parts_for(components, THERE_AND_BACK)[:2]) < 1e-4


def test_halves_are_least_squares_of_what_each_writes_more_of():
    """By `torch.linalg.lstsq`; whatever of a component's size is in what it reads."""
    draw = numbers(5)
    vectors = torch.cat([draw(40, 7) * torch.tensor([3.0, 1, 1, 0.2, 0, 0, 0]), draw(30, 7)])
    v, lengths = draw(2, 7), torch.tensor([1.0, 3.0], dtype=FLOAT)
    half = first_half(vectors, v, lengths)
    read = vectors @ v.T
    of_half = (vectors @ half.T * lengths).norm(dim=1)
    own = of_half > ((read - vectors @ half.T) * lengths).norm(dim=1)
    assert 0 < int(own.sum()) < len(own)
    expected = torch.linalg.lstsq(vectors, read * own[:, None]).solution.T
    torch.testing.assert_close(half, expected, atol=1e-3, rtol=1e-3)
    sizes = torch.tensor([5.0, 0.2], dtype=FLOAT)
    scaled = first_half(vectors, v * sizes[:, None], lengths / sizes)
    torch.testing.assert_close(scaled, half * sizes[:, None])


def test_vectors_are_told_apart_along_the_direction_of_most_variance():
    draw = numbers(12)
    vectors = draw(50, 4) * torch.tensor([0.3, 0.5, 2.0, 0.1]) @ torch.linalg.qr(draw(4, 4)).Q + 3
    centred = vectors - vectors.mean(0)
    along = centred @ torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -1]
    found = ahead(vectors)
    assert torch.equal(found, along > 0) or torch.equal(found, along < 0)


def test_halves_are_looked_for_in_all_that_a_sorted_reference_reads(monkeypatch):
    monkeypatch.setattr(splitting, "MOST_VECTORS", 20)
    x = torch.cat([numbers(8)(60, 2) @ FEATURES[:2], one_at_a_time(800)])
    components = components_of(LINES[:1], SHARED[None], 2)
    split(components, network(THERE_AND_BACK), x, 0.6, Config(), coin())
    assert components.living().components.count == 2
