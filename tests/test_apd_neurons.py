"""A weight's own rows and columns as its parts."""

import pytest
import torch
from problems import Formula, numbers
from torch import nn

import apd
import toys
from apd import Components, recovery
from apd.neurons import own_columns, own_rows

FLOAT = torch.float64
OWNERS = torch.tensor([1, 0, 0, 1, 0, 1, 0])
SLOPES = torch.tensor([0.7, -1.0, 2.0, 1.5, 0.4, -0.6, 1.1], dtype=FLOAT)


def both(target: apd.Target, x: torch.Tensor, most: int = 9) -> list[Components | None]:
    """The rows and the columns of a target's only weight."""
    return [own(target, x, most, apd.Config()) for own in (own_rows, own_columns)]


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


def weights(parts: Components) -> list[torch.Tensor]:
    """Those of every part."""
    (site,) = parts.factors
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
    by_rows, by_columns = both(alone, x)
    assert same(weights(by_rows), [whole(target, i)["0.weight"] for i in range(2)])
    columns = target.weight("0.weight")
    own = [columns * torch.eye(3, dtype=FLOAT)[i] for i in range(3)]
    assert same(weights(by_columns), own)


def test_columns_on_one_line_that_other_inputs_use_stay_apart():
    target, x = gated()
    alone = target.alone("2.weight")
    by_rows, by_columns = both(alone, x)
    assert same(weights(by_rows), [target.weight("2.weight")])
    assert same(weights(by_columns), [whole(target, i)["2.weight"] for i in range(2)])


def test_rows_that_are_each_others_opposite_stay_apart():
    module = Formula(lambda m, x: torch.relu(x @ m.A.T), A=torch.tensor([[1.0, 2], [-2, -4]]))
    module = module.double()
    x = numbers(3)(50, 2)
    target = apd.Target.of(module, x[:2])
    by_rows, _ = both(target, x)
    rows = module.A.detach()
    assert same(weights(by_rows), [rows * torch.eye(2)[:, [i]] for i in range(2)])


@pytest.mark.of_parts
def test_rows_and_columns_add_up_to_the_weight_whatever_its_kind(problem):
    for site in problem.target.sites:
        alone = problem.target.alone(site)
        for own in both(alone, problem.x, 40):
            assert all(t.shape[1] == 1 and t.flatten(1).any(1).all() for t in own.factors[site])
            torch.testing.assert_close(sum(weights(own)), alone.weight(site))


def test_more_lines_than_there_may_be_parts_or_a_larger_weight_are_not_tried(monkeypatch):
    target, x = gated()
    alone = target.alone("0.weight")
    counts = {most: [own and own.count for own in both(alone, x, most)] for most in (3, 2, 1)}
    assert counts == {3: [2, 3], 2: [2, None], 1: [None, None]}
    monkeypatch.setattr("apd.neurons.LARGEST", 6)
    assert both(alone, x) == [None, None]


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
    assert run.kinds == {"0.weight": "rows", "2.weight": "columns"}
    found = [run.components.component(c) for c in range(run.components.count)]
    for i in range(2):
        own = whole(target, i)
        assert any(all(torch.allclose(c[s], own[s]) for s in own) for c in found)


def test_columns_are_put_together_by_all_of_a_sorted_reference(monkeypatch):
    monkeypatch.setattr("apd.neurons.ROWS", 60)
    target, x = gated()
    x = x[x[:, 1:].sum(1).argsort(stable=True)]
    found = own_columns(target.alone("2.weight"), x, 9, apd.Config())
    assert same(weights(found), [whole(target, i)["2.weight"] for i in range(2)])
