"""A weight's own rows and columns in place of what training found, where they are simpler."""

import math

import pytest
import torch
from problems import Formula, numbers
from torch import nn

import apd
import toys
from apd import recovery
from apd.assembly import Found
from apd.neurons import account, living, rows_and_columns, simplest
from apd.sites import Factors
from apd.usage import Usage

FLOAT = torch.float64
OWNERS = torch.tensor([1, 0, 0, 1, 0, 1, 0])
SLOPES = torch.tensor([0.7, -1.0, 2.0, 1.5, 0.4, -0.6, 1.1], dtype=FLOAT)


def gated(bits: tuple[int, ...] = (1, 2)) -> tuple[apd.Target, torch.Tensor]:
    """Two functions of a number, of three and four neurons, each on where its bit is 1.

    Args:
        bits: which coordinates of the inputs are ever 1.
    """
    module = nn.Sequential(nn.Linear(3, 7), nn.ReLU(), nn.Linear(7, 1, bias=False)).double()
    reads = torch.zeros(7, 3, dtype=FLOAT)
    reads[:, 0] = 1
    reads[torch.arange(7), 1 + OWNERS] = 10
    module[0].weight.data = reads
    module[0].bias.data = -10 - torch.tensor([-0.5, -0.5, 0.1, 0.0, 0.3, 0.4, 0.5], dtype=FLOAT)
    module[2].weight.data = SLOPES[None]
    draw = torch.Generator().manual_seed(5)
    x = torch.zeros(600, 3, dtype=FLOAT)
    x[:, 0] = torch.rand(600, generator=draw, dtype=FLOAT)
    x[torch.arange(600) % 5 == 0, bits[0]] = 1
    x[torch.arange(600) % 5 == 1, bits[-1]] = 1
    return apd.Target.of(module, x[:2]), x


def whole(target: apd.Target, i: int) -> dict[str, torch.Tensor]:
    """The weights of one of the two functions."""
    mine = (i == OWNERS).double()
    return {
        "0.weight": target.weight("0.weight") * mine[:, None],
        "2.weight": target.weight("2.weight") * mine,
    }


def slots(target: apd.Target, count: int = 9, rank: int = 1) -> Factors:
    ((_, site),) = target.sites.items()
    return Factors(*(torch.zeros(count, rank, d, dtype=FLOAT) for d in site.shape))


def weights(target: apd.Target, factors: Factors) -> list[torch.Tensor]:
    """Those of the parts that are not zero."""
    (site,) = target.sites
    parts = living(target, factors)
    return [parts.component(c)[site] for c in range(parts.count)]


def same(found: list[torch.Tensor], expected: list[torch.Tensor]) -> bool:
    """In any order."""
    return len(found) == len(expected) and all(
        any(torch.allclose(weight, other) for weight in found) for other in expected
    )


@pytest.mark.parametrize("bits", [(1, 2), (1, 1)])
def test_rows_on_one_line_are_a_part_per_function_whether_or_not_inputs_use_it(bits):
    target, x = gated(bits)
    alone = target.alone("0.weight")
    by_rows, by_columns = rows_and_columns(alone, x, slots(alone), apd.Config())
    assert same(weights(alone, by_rows), [whole(target, i)["0.weight"] for i in range(2)])
    columns = target.weight("0.weight")
    own = [columns * torch.eye(3, dtype=FLOAT)[i] for i in range(3)]
    assert same(weights(alone, by_columns), own)


def test_columns_on_one_line_that_other_inputs_use_stay_apart():
    target, x = gated()
    alone = target.alone("2.weight")
    by_rows, by_columns = rows_and_columns(alone, x, slots(alone), apd.Config())
    assert same(weights(alone, by_rows), [target.weight("2.weight")])
    assert same(weights(alone, by_columns), [whole(target, i)["2.weight"] for i in range(2)])


def test_rows_that_are_each_others_opposite_stay_apart():
    module = Formula(lambda m, x: torch.relu(x @ m.A.T), A=torch.tensor([[1.0, 2], [-2, -4]]))
    module = module.double()
    x = numbers(3)(50, 2)
    target = apd.Target.of(module, x[:2])
    by_rows, _ = rows_and_columns(target, x, slots(target), apd.Config())
    rows = module.A.detach()
    assert same(weights(target, by_rows), [rows * torch.eye(2)[:, [i]] for i in range(2)])


@pytest.mark.of_parts
def test_rows_and_columns_add_up_to_the_weight_whatever_its_kind(problem):
    for site in problem.target.sites:
        alone = problem.target.alone(site)
        found = list(rows_and_columns(alone, problem.x, slots(alone, 40, 2), apd.Config()))
        assert len(found) == 2
        for own in found:
            assert all(t.shape[1] == 2 for t in own)
            zeros = [int((t == 0).all(-1).all(-1).sum()) for t in own]
            assert min(zeros) >= min(alone.sites[site].shape)
            torch.testing.assert_close(sum(weights(alone, own)), alone.weight(site))


def test_more_lines_than_training_looks_for_or_a_larger_weight_are_not_tried(monkeypatch):
    target, x = gated()
    alone = target.alone("0.weight")
    few = [
        len(weights(alone, o)) for o in rows_and_columns(alone, x, slots(alone, 1), apd.Config())
    ]
    assert few == [2, 3]
    monkeypatch.setattr("apd.neurons.COMPONENTS", (1, 1))
    counts = {
        most: [len(weights(alone, own)) for own in rows_and_columns(alone, x, left, apd.Config())]
        for most in (3, 2, 1)
        for left in [slots(alone, most)]
    }
    assert counts == {3: [2, 3], 2: [2], 1: []}
    monkeypatch.setattr("apd.neurons.LARGEST", 6)
    assert list(rows_and_columns(alone, x, slots(alone), apd.Config())) == []


def features(split: int, step: float = 1.0) -> tuple[apd.Target, torch.Tensor, Found]:
    """Sixty features, each larger than the last, with a part of their own, or with two halves."""
    module = Formula(lambda m, x: x @ m.A.T, A=torch.diag(1 + step * torch.arange(60).double()))
    x = torch.eye(60, dtype=FLOAT).repeat(3, 1)
    target = apd.Target.of(module, x[:2])
    held = torch.ones(60, dtype=FLOAT)
    held[:split] = 0.5
    u, v = held[:, None] * module.A.detach(), torch.eye(60, dtype=FLOAT)
    u, v = torch.cat([u, u[:split]]), torch.cat([v, v[:split]])
    zeros = torch.zeros(4, 60, dtype=FLOAT)
    parts = Factors(*(torch.cat([side, zeros])[:, None] for side in (u, v)))
    return target, x, Found(parts, 1 + split / 60)


@pytest.mark.parametrize("split", [0, 3])
def test_the_account_counts_names_and_sizes_of_the_parts_in_use(split):
    target, x, trained = features(split)
    config = apd.Config(exactness=1e-9)
    sizes = 1 + torch.arange(60).double()
    typical = sizes.square().mean().sqrt()
    first, other = 1 + (0.5 * sizes / typical) ** 0.9, 1 + (sizes / typical) ** 0.9
    expected = (2 * first[:split].sum() + other[split:].sum()) / 60
    usage = Usage(target, living(target, trained.factors), x, config)
    names, active = account(usage, trained.active, 1e-9)
    assert names == pytest.approx(expected.item())
    assert active == pytest.approx(trained.active)
    assert account(usage, 0.9, 1e-9).names == math.inf
    assert max(account(usage, 0.9, 1e9)) < 0.1


def test_the_shorter_account_is_taken_and_of_two_alike_what_was_trained():
    """One feature in halves makes it longer by a hundredth or so, four of them by a twentieth."""
    config = apd.Config(exactness=1e-6)
    for split in (0, 1):
        target, x, trained = features(split)
        assert simplest(target, x, trained, config) is trained
    target, x, trained = features(4)
    found = simplest(target, x, trained, config)
    assert same(weights(target, found.factors), weights(target, features(0)[2].factors))
    assert found.active == pytest.approx(1.0, abs=0.01)


def test_so_many_are_active_as_explain_the_outputs_as_far_as_training_aimed():
    """A weak half of all features is not needed, though it has an effect."""
    module = Formula(lambda m, x: x @ m.A.T, A=torch.eye(20).double())
    strong = (torch.arange(20) < 10).double()
    x = torch.ones(60, 1, dtype=FLOAT) * (strong + 0.01 * (1 - strong))
    target = apd.Target.of(module, x[:2])
    nothing = Found(slots(target, 24), 1.0)
    found = simplest(target, x, nothing, apd.Config())
    assert len(weights(target, found.factors)) == 20
    assert found.active == pytest.approx(10, abs=0.3)


@pytest.mark.parametrize(("missing", "taken"), [(0.1, False), (0.3, True)])
def test_what_leaves_more_than_ten_times_what_was_aimed_at_is_replaced(missing, taken):
    """Without a part of every feature, parts are shorter, and leave its square of the loss."""
    target, x, trained = features(0, step=0.0)
    less = Found(Factors((1 - missing) * trained.factors.U, trained.factors.V), 1.0)
    found = simplest(target, x, less, apd.Config(exactness=0.003))
    assert (found is less) != taken
    own, whole = weights(target, found.factors), weights(target, trained.factors)
    assert same(own, whole) == taken


def test_lines_that_do_not_explain_the_outputs_are_not_taken():
    """Where both inputs are on a step is past its end, and no part of it has an effect."""
    module = Formula(
        lambda m, x: torch.relu(x @ m.A.T) - torch.relu(x @ m.A.T - 1), A=torch.ones(1, 2)
    ).double()
    x = torch.tensor([[0, 1], [1, 0], [1, 1]], dtype=FLOAT).repeat(7, 1) * 0.9
    target = apd.Target.of(module, x[:2])
    own = next(rows_and_columns(target, x, slots(target), apd.Config()))
    usage = Usage(target, living(target, own), x, apd.Config())
    assert account(usage, usage.affecting, 1e-3).names == math.inf
    nothing = Found(slots(target), 1.0)
    assert simplest(target, x, nothing, apd.Config()) is nothing


@pytest.mark.parametrize(("name", "seed"), [("gated", 105), ("gated-2", 106)])
def test_functions_behind_thresholds_are_whole_however_short_training_is(name, seed):
    toy = toys.make(name, seed)
    run = apd.decompose(toy.model, toy.reference, apd.Config(steps=50))
    found = recovery.one_to_one(toy.mechanisms, run.components)
    assert found.recovered().all()
    assert found.cosine.min() > 0.99


def test_components_of_such_functions_are_zero_elsewhere():
    target, x = gated()
    run = apd.decompose(target, x, apd.Config(steps=50, components=9))
    found = [run.components.component(c) for c in range(run.components.count)]
    for i in range(2):
        own = whole(target, i)
        assert any(all(torch.allclose(c[s], own[s]) for s in own) for c in found)
